"""What the resolver has decided for machines, told to their logs: it writes a line for each (network/resolver/log.py),
and the lines are read as they come.

A refusal is told each time, a name that is let through only the first time since we began (of more than MOST_NAMES
again): it is asked again and again. All of it is rated: what a machine asks for is its own business. What was decided
while no pilotd ran is in the resolver's log alone.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from ... import errors
from ...ids import MachineId
from ...wire.audit import Kind
from .. import periodic
from ..store import networks
from ..store.database import Database
from .records import Decision, Record, Who, text
from .subjects import Subjects
from .writer import Writer

PERIOD_S = 2.0
MOST_NAMES = 1024
MOST_AT_ONCE = 1 << 20
_ALLOWED = "allow"
log = logging.getLogger(__name__)


class Telling(Protocol):
    """What is to be had of `relay.auditing.Auditing`."""

    @property
    def writer(self) -> Writer: ...
    @property
    def subjects(self) -> Subjects: ...


class Line(msgspec.Struct, frozen=True):
    """Of the resolver's log, as far as it is of interest here."""

    name: str
    type: str
    decision: str
    rule: str | None = None


@dataclasses.dataclass
class _Place:
    """How far a file was read: which one it is, and up to where. `names`: that were let through, the latest of them."""

    inode: int
    offset: int
    names: dict[str, None] = dataclasses.field(default_factory=dict)


class Follower:
    """Of one thread. `path_of` is where a machine's lines are."""

    def __init__(self, told: Telling, path_of: Callable[[MachineId], str]) -> None:
        self._told = told
        self._path_of = path_of
        self._places: dict[MachineId, _Place] = {}

    def follow(self, machines: list[MachineId]) -> None:
        """What has come since the last time; of a machine that is new, what comes from now on."""
        for machine in machines:
            for line in self._lines(machine):
                self._tell(machine, line)
        for gone in self._places.keys() - set(machines):
            del self._places[gone]

    def _tell(self, machine: MachineId, line: Line) -> None:
        is_allowed = line.decision == _ALLOWED
        if is_allowed and not _is_first(self._places[machine].names, line.name):
            return
        detail = {"name": text(line.name, 256), "type": text(line.type, 16), "rule": text(line.rule or "", 256)}
        decision = Decision.ALLOWED if is_allowed else Decision.DENIED
        why = "" if is_allowed else line.decision
        record = Record(
            Kind.EGRESS, "resolve", decision, time.time_ns() // 1000, Who(machine=machine), "", "", detail, why
        )
        self._told.writer.tell(self._told.subjects.of_machine(machine), record, is_rated=True)

    def _lines(self, machine: MachineId) -> Iterator[Line]:
        path = self._path_of(machine)
        place = self._places.get(machine)
        if place is None:
            place = self._places[machine] = _Place(*_end(path))
            return
        if place.inode and _inode(path) != place.inode:
            yield from self._read(f"{path}.1", place)  # the rest of what was renamed since
            place.inode, place.offset = 0, 0
        yield from self._read(path, place)

    def _read(self, path: str, place: _Place) -> Iterator[Line]:
        try:
            with open(path, "rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if place.inode not in (0, inode):
                    return
                place.inode = inode
                data = os.pread(file.fileno(), MOST_AT_ONCE, place.offset)
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        place.offset += len(whole)
        for line in whole.splitlines():
            try:
                yield msgspec.json.decode(line, type=Line)
            except msgspec.DecodeError:
                log.warning("audit: a decision cannot be read", extra={"path": path})


def _is_first(names: dict[str, None], name: str) -> bool:
    """As far as is remembered: of very many names one is told again rather than never."""
    is_known = name in names
    names.pop(name, None)
    names[name] = None
    if len(names) > MOST_NAMES:
        del names[next(iter(names))]
    return not is_known


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _end(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size


def watching(told: Telling, database: Database, path_of: Callable[[MachineId], str]) -> AbstractContextManager[None]:
    """Follow for as long as the block lasts."""
    follower = Follower(told, path_of)

    def follow() -> None:
        try:
            follower.follow([row.machine for row in networks.every(database)])
        except (errors.PilotError, OSError) as error:
            log.warning("audit: decisions of the network not read", extra={"error": str(error)})

    return periodic.every(PERIOD_S, "audit-egress", follow)
