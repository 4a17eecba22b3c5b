"""Verbs that change nothing."""

from __future__ import annotations

import base64
import sys
import time

from .. import durations, output, words
from .app import App, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..context import Context

_LAST = 5  # events of a status
_SILENCE_S = 60.0  # the server says each ten seconds that it is there


def list_machines(context: Context) -> None:
    said = context.said
    query = [("include_deleted", "true")] if said.has("all") else []
    query += [("state", said.option("state") or "")] if said.has("state") else []
    rows = App(context).machines(query)
    if context.wants_json:
        output.document(rows)
    else:
        _table(rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> None:
    shown = [
        (row["id"], row["name"], row["state"], _checks(row), _image(row["config"]), output.moment(row["updated_at"]))
        for row in rows
    ]
    output.table(("ID", "NAME", "STATE", "CHECKS", "IMAGE", "CHANGED"), shown)


def _checks(row: Mapping[str, Any]) -> str:
    checks = row.get("checks") or []
    return f"{sum(each['status'] == 'passing' for each in checks)}/{len(checks)}" if checks else ""


def _image(config: Mapping[str, Any]) -> str:
    containers = config.get("containers") or []
    return ", ".join(str(each.get("image", "")) for each in containers) or str(config.get("image") or "")


def status(context: Context) -> None:
    app, wanted = App(context), context.said.argument("MACHINE")
    if wanted is None:
        list_machines(context)
        return
    row = app.machine(wanted)
    if context.wants_json:
        output.document(row)
        return
    for name, value in _facts(app, row):
        output.line(output.plain(f"{name:<12}{value}").rstrip())
    _section(("CHECK", "STATUS", "OUTPUT"), [
        (each["name"], each["status"], each.get("output") or "") for each in row.get("checks") or []
    ])  # fmt: skip
    _section(("CONTAINER", "STATE", "IMAGE"), _containers(row))
    _section(_EVENT, [_event(each) for each in reversed(row["events"][:_LAST])])


def _facts(app: App, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    config = row["config"]
    guest = config.get("guest") or {}
    size = f"{guest.get('cpus') or 1} cpu, {guest.get('memory_mb') or 256} MiB"
    state = row["state"] + (" (cordoned)" if row.get("cordoned") else "")
    why = reason(row["events"]) if row["state"] in ("failed", "stopped") else ""
    facts = [
        ("id", row["id"]), ("name", row["name"]), ("app", app.name), ("state", f"{state}: {why}" if why else state),
        ("version", row["instance_id"]), ("image", _image(config)), ("size", size), ("address", row["private_ip"]),
        ("created", output.moment(row["created_at"])), ("changed", output.moment(row["updated_at"])),
    ]  # fmt: skip
    ports = [_port(service, port) for service in config.get("services") or [] for port in service.get("ports") or []]
    mounts = [f"{each.get('volume')}:{each.get('path') or ''}" for each in config.get("mounts") or []]
    facts += [("ports", ", ".join(ports))] if ports else []
    facts += [("volumes", ", ".join(mounts))] if mounts else []
    return facts


def _port(service: Mapping[str, Any], port: Mapping[str, Any]) -> str:
    outside = port.get("port") or f"{port.get('start_port')}-{port.get('end_port')}"
    protocol = "/udp" if service.get("protocol") == "udp" else ""
    handlers = "".join(f":{each}" for each in port.get("handlers") or [])
    return f"{outside}:{service.get('internal_port')}{protocol}{handlers}"


def _containers(row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    images = {each["name"]: str(each.get("image", "")) for each in row["config"].get("containers") or []}
    return [(each["name"], each["state"], images.get(each["name"], "")) for each in row.get("containers") or []]


def _section(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        output.line()
        output.table(titles, rows)


_EVENT = ("AT", "WHAT", "STATE", "BY", "WHY")


def _event(event: Mapping[str, Any]) -> tuple[str, ...]:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(event["timestamp"] / 1000))
    return at, event["type"], event["status"], event["source"], reason([event])


def events(context: Context) -> None:
    """The newest last, as a log; with JSON as the server says them."""
    app = App(context)
    lines = context.said.option("lines")
    if lines is not None and not (lines.isascii() and lines.isdecimal() and len(lines) < 7):
        raise words.UsageError(f"--lines {lines}: it is a number")
    query = [("limit", lines)] if lines is not None else []
    id = app.id_of(context.said.required("MACHINE"))
    found = app.call("GET", app.machine_path(id, "events"), query=query)
    if context.wants_json:
        output.document(found)
    else:
        output.table(_EVENT, [_event(each) for each in reversed(found)])


def logs(context: Context) -> None:
    """Each container's output where it belongs; of several each line begins with whose it is."""
    app, said = App(context), context.said
    query = [("container", said.option("container") or "")] if said.has("container") else []
    query += [("follow", "true")] if said.has("follow") else []
    since = said.option("since")
    query += [("since", f"{time.time() - durations.parse_s(since):.6f}")] if since is not None else []
    row = app.machine(said.required("MACHINE"))
    config = row["config"]
    names = [*(config.get("containers") or []), *(config.get("processes") or [])]
    several = len(names) > 1 and not said.has("container")
    for piece in app.stream(app.machine_path(row["id"], "logs"), query, _SILENCE_S):
        if context.wants_json:
            output.document(piece)
            sys.stdout.flush()
        else:
            _write(piece, several=several)


def _write(piece: Mapping[str, Any], *, several: bool) -> None:
    if piece.get("dropped"):
        output.tell(f"pilot machine: {piece['container']}: {piece['dropped']} bytes are not kept any more")
    data = piece["text"].encode() if "text" in piece else base64.b64decode(piece.get("base64") or "")
    if several:
        name = piece["container"].encode()
        data = b"".join(name + b" | " + line for line in data.splitlines(keepends=True))
        data += b"" if data.endswith(b"\n") else b"\n"
    number = 2 if piece["stream"] == "stderr" else 1
    output.write_all(number, data)
