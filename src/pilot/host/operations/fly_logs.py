"""What the containers of a Machine wrote last, kept when it stops: its agent, which has all of it, goes then.

<state-dir>/machine-logs/<id>     lines of JSON (`Line`), the latest of each container, of the run that ended last

A run begins without: one whose machine is lost, or that is stopped while suspended, leaves none, and no older one's.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ... import errors
from ...ids import MachineId
from ...kernel import files
from ...machine import lines
from ...wire import graph, operations
from .context import Host

# Of a container, as they are kept; one line of an agent's own is never longer than the second.
MOST_BYTES, MOST_LINE_BYTES = 128 << 10, 256 << 10
# No stop waits longer for all of it, whatever the machine does; one with much to tell tells what is newest first.
READ_S, PIECE_S, RECENT_S = 4.0, 2.0, 600.0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """As the Machines API tells it."""

    container: str
    piece: graph.LogPiece


def keep(host: Host, machine: MachineId, containers: Sequence[str], dial_path: str) -> None:
    """As much as there is time for; without it the Machine stops as well: nothing is raised."""
    place = _place(host, machine)
    if place is None:
        return
    end_s = time.monotonic() + READ_S
    found = [line for name in containers for line in _last(dial_path, name, end_s)]
    with contextlib.suppress(OSError):  # a full disk, say: what is kept is a help, and no promise
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        files.replace(place, b"".join(found))


def read(host: Host, machine: MachineId) -> list[Line]:
    """The oldest first; none where nothing was kept."""
    place = _place(host, machine)
    if place is None:
        return []
    try:
        with open(place, "rb") as file:
            found = [msgspec.json.decode(line, type=Line) for line in file]
    except (OSError, *errors.UNREADABLE):
        return []
    return sorted(found, key=lambda line: line.piece.time)


def forget(host: Host, machine: MachineId) -> None:
    """None are kept; idempotent."""
    place = _place(host, machine)
    if place is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)


def _place(host: Host, machine: MachineId) -> str | None:
    return None if host.scratch is None else os.path.join(host.scratch, "machine-logs", machine)


def _last(dial_path: str, name: str, end_s: float) -> Iterable[bytes]:
    since_s = time.time() - RECENT_S
    return _tail(dial_path, name, [("since", f"{since_s:f}")], end_s) or _tail(dial_path, name, [], end_s)


def _tail(dial_path: str, name: str, query: Sequence[tuple[str, str]], end_s: float) -> Iterable[bytes]:
    """Lines as they are kept, no more than `MOST_BYTES` of them or one."""
    kept: deque[bytes] = deque()
    size = 0
    # It says nothing, or no lines of a log: what it has said before is kept.
    with contextlib.suppress(errors.PilotError, *errors.UNREADABLE):
        for piece in _pieces(dial_path, name, query, end_s):
            line = msgspec.json.encode(Line(container=name, piece=piece)) + b"\n"
            if len(line) > MOST_LINE_BYTES:
                continue
            kept.append(line)
            size += len(line)
            while size > MOST_BYTES and len(kept) > 1:
                size -= len(kept.popleft())
    return kept


def _pieces(dial_path: str, name: str, query: Sequence[tuple[str, str]], end_s: float) -> Iterator[graph.LogPiece]:
    """Until then: who always has one more is not waited for."""
    read = operations.CONTAINER_LOGS
    for piece in lines.read(dial_path, read, query=query, timeout_s=PIECE_S, end_s=end_s, name=name):
        yield piece
        if time.monotonic() >= end_s:
            return
