"""Verbs on tokens of the organisation."""

from __future__ import annotations

from . import http, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context


def create(context: Context) -> None:
    """The token alone, on stdout: it is told once."""
    made = context.api.call("POST", "/v1/tokens", {"description": context.said.option("description") or ""})
    if context.wants_json:
        output.document(made)
    else:
        output.line(made["token"])


def list_all(context: Context) -> None:
    found = context.api.call("GET", "/v1/tokens")["tokens"]
    if context.wants_json:
        output.document(found)
        return
    rows = [
        (row["id"], output.moment(row["created_at"]), output.moment(row["revoked_at"]), row["description"])
        for row in found
    ]
    output.table(("TOKEN", "CREATED", "REVOKED", "DESCRIPTION"), rows)


def revoke(context: Context) -> None:
    context.api.call("DELETE", f"/v1/tokens/{http.quoted(context.said.required('TOKEN'))}")
