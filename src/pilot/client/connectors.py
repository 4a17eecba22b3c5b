"""Verbs on connectors. A secret comes by stdin: no list of processes and no history of a shell shows it."""

from __future__ import annotations

import os
import sys

from .. import errors
from . import http, output
from .api import sprite_path
from .words import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context

# Of each way: its kind, and what its option says.
_WAYS = {"basic": "username", "header": "header", "placeholder": "placeholder"}


def put(context: Context) -> None:
    said = context.said
    wanted: dict[str, Any] = {"hosts": said.options("host"), "attach": _attach(context)}
    if not said.has("keep"):
        wanted["secret"] = _secret()
    context.api.call("PUT", _path(context), wanted)


def _attach(context: Context) -> dict[str, str]:
    said = context.said
    chosen = [name for name in ("bearer", *_WAYS) if said.has(name)]
    if len(chosen) != 1:
        raise errors.PilotError("connector set: one of --bearer, --basic, --header and --placeholder is needed")
    [kind] = chosen
    return {"kind": kind} | ({_WAYS[kind]: said.option(kind) or ""} if kind in _WAYS else {})


def _secret() -> str:
    if not os.isatty(0):
        return sys.stdin.readline().strip()
    import getpass

    return getpass.getpass("secret: ").strip()


def list_all(context: Context) -> None:
    found = context.api.call("GET", _all(context))["connectors"]
    if context.wants_json:
        output.document(found)
    else:
        output.table(("CONNECTOR", "HOSTS", "ATTACHED AS", "CHANGED"), [_row(each) for each in found])


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    return each["name"], ",".join(each["hosts"]), " ".join(each["attach"].values()), output.moment(each["updated_at"])


def uses(context: Context) -> None:
    found = context.api.call("GET", _path(context))
    if context.wants_json:
        output.document(found)
        return
    for use in found["uses"]:
        asked = f"{use['method']} {use['path']}" if "method" in use else "-"
        words = [
            use["at"],
            *([use["machine"]] if "machine" in use else []),
            use["outcome"],
            str(use.get("status", "-")),
            use["host"],
            asked,
            use.get("why", ""),
        ]
        output.line("  ".join(words).rstrip())


def delete(context: Context) -> None:
    context.api.call("DELETE", _path(context))


def _all(context: Context) -> str:
    """Of the app that is named, whose Machines all have them; else of a sprite."""
    if app := context.said.option("app"):
        if context.said.option("sprite") or context.said.argument("NAME"):
            raise UsageError("a sprite or an app, not both")
        return f"/v1/apps/{http.quoted(app)}/connectors"
    return sprite_path(context.sprite, "connectors")


def _path(context: Context) -> str:
    return f"{_all(context)}/{http.quoted(context.said.required('CONNECTOR'))}"
