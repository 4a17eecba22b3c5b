"""Verbs on keys of the organisation."""

from __future__ import annotations

from . import durations, http, output
from .words import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def create(context: Context) -> None:
    """The key alone, on stdout: it is told once."""
    said = context.said
    wanted: dict[str, Any] = {"description": said.option("description") or ""}
    wanted["name"] = said.argument("NAME")
    wanted["role"] = said.option("role") or "admin"
    wanted |= {kind: said.option(option) for kind, option in (("sprite", "only-sprite"), ("app", "only-app"))}
    if (expires := said.option("expires")) is not None:
        wanted["expires_in_s"] = durations.parse_s(expires)
    if wanted["sprite"] and wanted["app"]:
        raise UsageError("--only-sprite or --only-app, not both")
    made = context.api.call("POST", "/v1/tokens", wanted)
    if context.wants_json:
        output.document(made)
    else:
        output.line(made["token"])


def list_all(context: Context) -> None:
    found = context.api.call("GET", "/v1/tokens")["tokens"]
    if context.wants_json:
        output.document(found)
        return
    titles = ("TOKEN", "NAME", "ROLE", "FOR", "CREATED", "EXPIRES", "USED", "REVOKED", "DESCRIPTION")
    output.table(titles, [_row(each) for each in found])


def _row(token: Any) -> tuple[str, ...]:
    scope, times = token["scope"], ("created_at", "expires_at", "last_used_at", "revoked_at")
    meant = f"{scope['kind']} {scope['name']}" if scope["name"] else scope["kind"]
    return (
        token["id"], token["name"] or "", token["role"], meant, *(output.moment(token[each]) for each in times),
        token["description"],
    )  # fmt: skip


def revoke(context: Context) -> None:
    context.api.call("DELETE", f"/v1/tokens/{http.quoted(context.said.required('TOKEN'))}")
