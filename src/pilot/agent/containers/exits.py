"""How containers ended, kept until it is acknowledged: one document for each container in init's store.

    the process ends ─► init's record ─► document here ─► init's record is acknowledged
                                             └─ told in every list, until its `seq` is acknowledged

A death of the agent between two of these tells an end twice to the next agent, which knows it by pid and start time.
"""

from __future__ import annotations

import os

import msgspec

from ...kernel import waiter
from ...kernel.waiter import Process
from .. import document
from ..machine import Link
from . import naming

MOST = 16
_KIND = "exits"


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """An end. `seq` counts the container's ends; `ended` is Unix time; `signal` is what killed it."""

    seq: int
    pid: int
    start_time: int
    exit_code: int
    ended: float
    signal: int | None = None
    core_dumped: bool = False


class _Kept(msgspec.Struct, frozen=True):
    last_seq: int = 0
    exits: tuple[Exit, ...] = ()


class Exits:
    """Those of all containers."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._kept: dict[str, _Kept] = {}

    def restore(self) -> None:
        """Take over what the former agent knew."""
        for full_name in list(self._link.inherited):
            found = naming.parse_store_name(full_name)
            if found is not None and found[1] == (_KIND,):
                fd = self._link.take(full_name)
                self._kept[found[0]] = document.read(fd, _Kept)
                os.close(fd)

    def of(self, container: str) -> tuple[Exit, ...]:
        """The ends that nobody has acknowledged, the oldest first; the newest MOST of them."""
        return self._kept.get(container, _Kept()).exits

    def names(self) -> set[str]:
        """Containers of which there is something to tell."""
        return {name for name, kept in self._kept.items() if kept.exits}

    def add(self, container: str, process: Process, status: waiter.ExitStatus, ended: float) -> None:
        """Write it down; nothing when it is known already."""
        kept = self._kept.get(container, _Kept())
        if any((each.pid, each.start_time) == (process.pid, process.start_time) for each in kept.exits):
            return
        added = Exit(
            seq=kept.last_seq + 1, pid=process.pid, start_time=process.start_time, exit_code=status.exit_code(),
            ended=ended, signal=status.signal, core_dumped=status.core_dumped,
        )  # fmt: skip
        self._write(container, _Kept(added.seq, (*kept.exits, added)[-MOST:]))

    def next_seq(self, container: str, pid: int, start_time: int) -> int:
        """The number that this end has, or will have."""
        kept = self._kept.get(container, _Kept())
        known = (each.seq for each in kept.exits if (each.pid, each.start_time) == (pid, start_time))
        return next(known, kept.last_seq + 1)

    def acknowledge(self, container: str, seq: int) -> None:
        """Forget it; nothing when it was forgotten already."""
        kept = self._kept.get(container, _Kept())
        left = tuple(each for each in kept.exits if each.seq != seq)
        if left != kept.exits:
            self._write(container, _Kept(kept.last_seq, left))

    def _write(self, container: str, kept: _Kept) -> None:
        document.write(self._link, naming.store_name(container, _KIND), kept)
        self._kept[container] = kept
