"""Verbs on what a sprite may reach, and what it tried to."""

from __future__ import annotations

from . import network, output
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context


def log(context: Context) -> None:
    report = context.api.call("GET", sprite_path(context.sprite, "network"))
    if context.wants_json:
        output.document(report)
        return
    for line in network.log_lines(report):
        output.line(line)


def private(context: Context) -> None:
    said, path = context.said, sprite_path(context.sprite, "network/private")
    if said.has("join") or said.has("leave"):
        context.api.call("PUT", path, {"network": said.option("join")})
    found = context.api.call("GET", path)
    if context.wants_json:
        output.document(found)
        return
    output.line(f"network: {found['network'] or 'none'}")
    for peer in found["peers"]:
        output.line(f"{peer}.internal")


def policy(context: Context) -> None:
    said, path = context.said, sprite_path(context.sprite, "policy/network")
    api = context.api
    if any(said.has(name) for name in ("allow", "deny", "defaults", "clear")):
        api.call("POST", path, network.rules(said.options("allow"), said.options("deny"), said.has("defaults")))
    found = api.call("GET", path)
    if context.wants_json:
        output.document(found)
    else:
        output.table(("ACTION", "DOMAIN"), network.rule_rows(found))
