"""`pilot events ID`: statistics at intervals and out-of-memory kills, one JSON object per line."""

from __future__ import annotations

import re
import select
import time

import msgspec

from .. import errors
from ..runtime import Container
from ..spec.state import Status
from .options import Arguments, Kind, Option, UsageError
from .verb import Context

SUMMARY = "display container events such as OOM notifications, cpu, memory, and IO usage statistics"
USAGE = "<container-id>"
OPTIONS = (
    Option(("interval",), Kind.TEXT, "set the stats collection interval (default: 5s)"),
    Option(("stats",), Kind.FLAG, "display the container's stats then exit"),
)
ARGUMENTS = (1, 1)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def run(context: Context, arguments: Arguments) -> int:
    container = context.runtime().load(arguments.positional[0])
    if container.status() is Status.STOPPED:
        raise errors.StateError(f"container with id {container.id} is not running")
    interval_s = parse_duration(arguments.text("interval", "5s"))
    if arguments.flag("stats"):
        _write(context, "stats", container, container.stats())
        return 0
    _follow(context, container, interval_s)
    return 0


def parse_duration(text: str) -> float:
    """A duration as Go writes it (1m30s, 500ms) → seconds; UsageError unless it is more than zero."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise UsageError("duration interval must be greater than 0")
    return seconds


def _follow(context: Context, container: Container, interval_s: float) -> None:
    with container.cgroup.oom_events() as kills:
        poll = select.poll()
        poll.register(kills.fileno(), select.POLLIN | select.POLLPRI)
        due = time.monotonic() + interval_s
        while container.status() is not Status.STOPPED:
            if poll.poll(max(0.0, due - time.monotonic()) * 1000):
                if kills.read() is None:
                    return
                _write(context, "oom", container, None)
                continue
            _write(context, "stats", container, container.stats())
            due += interval_s


def _write(context: Context, kind: str, container: Container, data: object) -> None:
    row = {"type": kind, "id": container.id} | ({} if data is None else {"data": data})
    context.write(msgspec.json.encode(row).decode() + "\n")
