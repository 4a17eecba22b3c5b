"""Verbs that run commands in a sprite, and those on what runs."""

from __future__ import annotations

import os

from .. import errors
from . import durations, execution, http, output
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context

_SHELL = ("/bin/sh", "-c", 'command -v sprite-console >/dev/null && exec sprite-console; exec "${SHELL:-/bin/bash}" -l')


def execute(context: Context) -> int:
    said = context.said
    wanted = execution.Command(
        said.arguments("COMMAND"),
        terminal=_wants_terminal(context),
        directory=said.option("dir"),
        environment=said.options("env"),
        detachable=said.has("detachable"),
        wait=said.has("wait"),
    )
    return _run(context, wanted)


def _run(context: Context, wanted: execution.Command) -> int:
    """With the ports that the sprite opens meanwhile, where a person is at a terminal."""
    if not wanted.terminal or not os.isatty(0) or context.said.has("no-port-forward"):
        return execution.run(context.account, context.sprite, wanted)
    from . import forwards

    with forwards.while_open(context.account, context.sprite):
        return execution.run(context.account, context.sprite, wanted)


def _wants_terminal(context: Context) -> bool:
    """When asked for; else where a person sits at both ends."""
    if context.said.has("no-tty"):
        return False
    return context.said.has("tty") or (os.isatty(0) and os.isatty(1))


def console(context: Context) -> int:
    return _run(context, execution.Command(_SHELL, terminal=True, detachable=True))


def attach(context: Context) -> int:
    wanted = execution.Command(session=context.said.required("ID"), terminal=os.isatty(0))
    return _run(context, wanted)


def sessions(context: Context) -> None:
    found = context.api.call("GET", sprite_path(context.sprite, "exec"))["sessions"]
    if context.wants_json:
        output.document(found)
        return
    shown = [(str(row["id"]), _told(str(row["command"])), "tty" if row.get("tty") else "") for row in found]
    output.table(("ID", "COMMAND", "TERMINAL"), shown)


def _told(command: str) -> str:
    """As it was asked for: of a console, not what it takes to begin one."""
    return "(console)" if command == " ".join(_SHELL) else command


def kill(context: Context) -> None:
    said = context.said
    query = [("signal", said.option("signal") or "SIGTERM")]
    query += [("timeout", f"{durations.parse_s(said.option('timeout') or '10s'):g}s")]
    path = sprite_path(context.sprite, f"exec/{http.quoted(said.required('ID'))}/kill")
    for event in context.api.stream("POST", path, query=query):
        if event.get("type") == "error":
            raise errors.PilotError(str(event.get("message") or "not killed"))
        if event.get("type") == "complete":
            output.line(f"exit code {event['exit_code']}")
