"""Verbs on what sprites a sprite may make by itself."""

from __future__ import annotations

from . import durations, output
from .api import sprite_path
from .words import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def allow(context: Context) -> None:
    said = context.said
    count = said.required("CHILDREN")
    if not (count.isascii() and count.isdecimal()):
        raise UsageError(f"{count!r} is no number")
    body: dict[str, Any] = {"children": int(count), "from": said.options("from") or ["image"]}
    if lasting := said.option("expires-in"):
        body["expires_in_s"] = durations.parse_s(lasting)
    context.api.call("POST", _path(context), body)


def forbid(context: Context) -> None:
    context.api.call("DELETE", _path(context))


def show(context: Context) -> None:
    found = context.api.call("GET", _path(context))
    if context.wants_json:
        output.document(found)
    elif found["children"]:
        ends_s = found["expires_in_s"]
        lasting = "without a deadline" if ends_s is None else f"for {ends_s:g} s each"
        output.line(f"{found['children']} at a time, from {', '.join(found['from'])}, {lasting}")
    else:
        output.line("none")


def _path(context: Context) -> str:
    return sprite_path(context.sprite, "policy/spawn")
