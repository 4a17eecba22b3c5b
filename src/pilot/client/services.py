"""Verbs on what a sprite runs by itself."""

from __future__ import annotations

import sys

from . import durations, http, output, words
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .context import Context


def _path(context: Context, rest: str = "") -> str:
    return sprite_path(context.sprite, f"services/{http.quoted(context.said.required('SERVICE'))}" + rest)


def list_all(context: Context) -> None:
    found = context.api.call("GET", sprite_path(context.sprite, "services"))
    if context.wants_json:
        output.document(found)
        return
    rows = [(row["name"], row["state"]["status"], str(row["http_port"] or ""), _command(row)) for row in found]
    output.table(("SERVICE", "STATUS", "HTTP", "COMMAND"), rows)


def _command(row: dict[str, Any]) -> str:
    return " ".join([row["cmd"], *row["args"]])


def info(context: Context) -> None:
    found = context.api.call("GET", _path(context))
    if context.wants_json:
        output.document(found)
        return
    state = found["state"]
    rows = [("command", _command(found)), ("directory", found["dir"] or ""), ("needs", ",".join(found["needs"]))]
    rows += [
        (key, str(state[key])) for key in ("status", "pid", "error", "restart_count", "next_restart_at") if key in state
    ]
    output.table(("", ""), rows)


def create(context: Context) -> None:
    said = context.said
    command = said.arguments("COMMAND")
    body: dict[str, Any] = {"cmd": command[0], "args": command[1:], "needs": said.options("needs")}
    body |= {"env": _environment(said.options("env"))}
    body |= {"dir": said.option("dir")} if said.has("dir") else {}
    body |= {"http_port": _port(said.option("http-port"))} if said.has("http-port") else {}
    _follow(context, "PUT", _path(context), body, _duration(said))


def _environment(items: Sequence[str]) -> dict[str, str]:
    pairs = [item.partition("=") for item in items]
    if any(not equals for _, equals, _ in pairs):
        raise words.UsageError("--env: write it as NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _port(text: str | None) -> int:
    if not text or not (text.isascii() and text.isdecimal()):
        raise words.UsageError(f"--http-port {text}: not a number")
    return int(text)


def _duration(said: words.Words) -> list[tuple[str, str]]:
    return [("duration", f"{durations.parse_s(said.option('duration') or '5s'):g}s")]


def start(context: Context) -> None:
    _follow(context, "POST", _path(context, "/start"), None, _duration(context.said))


def restart(context: Context) -> None:
    _follow(context, "POST", _path(context, "/restart"), None, _duration(context.said))


def stop(context: Context) -> None:
    timeout = f"{durations.parse_s(context.said.option('timeout') or '10s'):g}s"
    _follow(context, "POST", _path(context, "/stop"), None, [("timeout", timeout)])


def logs(context: Context) -> None:
    said = context.said
    query = [("lines", said.option("lines") or "")] if said.has("lines") else []
    query += [("duration", "3600s")] if said.has("follow") else []
    _follow(context, "GET", _path(context, "/logs"), None, query, quiet=True)


def signal(context: Context) -> None:
    body = {"name": context.said.required("SERVICE"), "signal": context.said.required("SIGNAL")}
    context.api.call("POST", sprite_path(context.sprite, "services/signal"), body)


def delete(context: Context) -> None:
    context.api.call("DELETE", _path(context))


def _follow(
    context: Context,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    query: list[tuple[str, str]],
    *,
    quiet: bool = False,
) -> None:
    """Output to stdout and stderr as it was written there; what happens besides, to whoever watches."""
    for event in context.api.stream(method, path, body, query, patience_s=None):
        kind = event.get("type")
        if context.wants_json:
            output.document(event)
        elif kind in ("stdout", "stderr"):
            (sys.stdout if kind == "stdout" else sys.stderr).write(event.get("data") or "")
        elif kind == "error":
            output.tell(f"sprite: {event.get('data') or 'failed'}")
        elif kind == "exit":
            output.tell(f"ended with code {event['exit_code']}")
        elif kind != "complete" and not quiet:
            output.tell(str(kind))
        sys.stdout.flush()
