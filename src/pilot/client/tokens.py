"""Verbs on keys of the organisation."""

from __future__ import annotations

import sys

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
    wanted["form"] = "macaroon" if said.has("macaroon") else "bearer"
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


def attenuate(context: Context) -> None:
    """A macaroon that can do less, made here: only the ids of a sprite or an app are asked for."""
    import time

    from ..wire.macaroons import caveats, header, macaroon, own, packing
    from ..wire.permissions import ROLES, Role

    said = context.said
    added: list[Any] = []
    if role := said.option("role"):
        added.append(own.Permissions(sorted(each.value for each in ROLES[Role(role)])))
    if sprite := said.option("only-sprite"):
        added.append(own.Sprites([context.api.call("GET", f"/v1/sprites/{http.quoted(sprite)}")["id"]]))
    if app := said.option("only-app"):
        id = context.api.call("GET", f"/v1/apps/{http.quoted(app)}")["id"]
        added.append(caveats.Apps({int(id, 16): 31}))
    if (expires := said.option("expires")) is not None:
        now_s = int(time.time())
        added.append(caveats.ValidityWindow(now_s, now_s + int(durations.parse_s(expires))))
    needs_confirmation = said.has("needs-confirmation")
    if not added and not needs_confirmation:
        raise UsageError(
            "nothing to take away",
            hint="say one with --role, --only-sprite, --only-app, --expires or --needs-confirmation",
        )
    try:
        shown = [macaroon.decode(data) for data in header.parse_tokens(_shown(context))]
    except packing.Malformed as error:
        raise UsageError("only a macaroon can be attenuated", hint="sprite token create --macaroon") from error
    made = [each if each.is_proof else each.attenuate(*added) for each in shown]
    if needs_confirmation:
        import base64

        party = context.api.call("GET", "/v1/tokens/third-party")
        key = base64.b64decode(party["key"])
        try:
            made = [each if each.is_proof else each.require(party["location"], key) for each in made]
        except macaroon.CannotAttenuate as error:
            raise UsageError(str(error)) from error
    output.line(header.write(made).removeprefix(f"{header.SCHEME} "))


def discharge(context: Context) -> None:
    """The same token with what third parties' caveats of it demand, each asked for where it is to be had."""
    from ..wire.macaroons import header, macaroon, packing
    from . import discharges

    try:
        shown = [macaroon.decode(data) for data in header.parse_tokens(_shown(context))]
    except packing.Malformed as error:
        raise UsageError("only a macaroon has what is to be discharged") from error
    for token in [each for each in shown if not each.is_proof]:
        for location, tickets in token.tickets(*shown).items():
            for ticket in tickets:
                shown += discharges.of(context, location, ticket)
    output.line(header.write(shown).removeprefix(f"{header.SCHEME} "))


def _shown(context: Context) -> str:
    """The token that is named; `-`: a line of stdin, so that no list of processes shows it."""
    given = context.said.argument("TOKEN")
    return sys.stdin.readline().strip() if given == "-" else given or context.account.token


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
