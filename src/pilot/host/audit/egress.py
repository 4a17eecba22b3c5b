"""What was decided for machines that reach out, told to their logs: the resolver writes a line for each name that is
asked for (network/resolver/log.py), connectors one for each request that gets a secret (network/connectors/uses.py).

A name that is refused is told each time, one that is let through only the first time since we began (of more than
MOST_NAMES again): it is asked again and again. Requests are told each, without their headers and what follows a `?`.
All of it is rated: what a machine asks for is its own business. What was decided while no pilotd ran is in those files
alone.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from ... import errors
from ...ids import MachineId
from ...wire.audit import Kind
from .. import periodic
from ..store import networks
from ..store.database import Database
from .following import Tail
from .records import Decision, Detail, Record, Who, text
from .subjects import Subjects
from .writer import Writer

PERIOD_S = 2.0
MOST_NAMES = 1024
_ALLOWED = "allow"
# By what became of a request; of any other nothing came that the machine wanted.
_OF_USES = {"answered": Decision.ALLOWED, "refused": Decision.DENIED}
PathOf = Callable[[MachineId], str]
log = logging.getLogger(__name__)


class Telling(Protocol):
    """What is to be had of `relay.auditing.Auditing`."""

    @property
    def writer(self) -> Writer: ...
    @property
    def subjects(self) -> Subjects: ...


class Resolved(msgspec.Struct, frozen=True):
    """Of the resolver's log, as far as it is of interest here."""

    name: str
    type: str
    decision: str
    rule: str | None = None


class Used(msgspec.Struct, frozen=True):
    """Of the log of connectors, likewise."""

    connector: str
    host: str
    outcome: str
    method: str = ""
    path: str = ""
    status: int = 0
    why: str = ""


@dataclasses.dataclass
class _Machine:
    """What is followed of one. `known`: names that were let through, the latest of them."""

    who: Who
    names: Tail[Resolved]
    uses: Tail[Used]
    known: dict[str, None] = dataclasses.field(default_factory=dict)

    def records(self) -> Iterator[Record]:
        for resolved in self.names.come():
            if resolved.decision != _ALLOWED or _is_first(self.known, resolved.name):
                yield _of_name(self.who, resolved)
        for used in self.uses.come():
            yield _of_use(self.who, used)


class Follower:
    """Of one thread. `names_of`, `uses_of`: where a machine's lines are."""

    def __init__(self, told: Telling, names_of: PathOf, uses_of: PathOf) -> None:
        self._told = told
        self._names_of = names_of
        self._uses_of = uses_of
        self._machines: dict[MachineId, _Machine] = {}
        self._has_begun = False

    def follow(self, machines: list[MachineId]) -> None:
        """What has come since the last time. Of machines that were there before the first time what comes from then on;
        of others all."""
        for id in machines:
            if id not in self._machines:
                self._machines[id] = self._followed(id)
            for record in self._machines[id].records():
                self._told.writer.tell(self._told.subjects.of_machine(id), record, is_rated=True)
        for gone in self._machines.keys() - set(machines):
            del self._machines[gone]
        self._has_begun = True

    def _followed(self, id: MachineId) -> _Machine:
        from_end = not self._has_begun
        names = Tail(self._names_of(id), Resolved, from_end=from_end)
        return _Machine(Who(machine=id), names, Tail(self._uses_of(id), Used, from_end=from_end))


def _is_first(names: dict[str, None], name: str) -> bool:
    """As far as is remembered: of very many names one is told again rather than never."""
    is_known = name in names
    names.pop(name, None)
    names[name] = None
    if len(names) > MOST_NAMES:
        del names[next(iter(names))]
    return not is_known


def _of_name(who: Who, line: Resolved) -> Record:
    is_allowed = line.decision == _ALLOWED
    detail = {"name": text(line.name, 256), "type": text(line.type, 16), "rule": text(line.rule or "", 256)}
    decision = Decision.ALLOWED if is_allowed else Decision.DENIED
    return _record("resolve", decision, who, detail, "" if is_allowed else line.decision)


def _of_use(who: Who, line: Used) -> Record:
    detail = {
        "connector": text(line.connector, 64),
        "host": text(line.host, 256),
        "method": text(line.method, 32),
        "path": text(line.path.partition("?")[0], 256),
        "outcome": text(line.outcome, 32),
    }
    return _record("useConnector", _OF_USES.get(line.outcome, Decision.FAILED), who, detail, line.why, line.status)


def _record(what: str, decision: Decision, who: Who, detail: Detail, why: str, status: int = 0) -> Record:
    return Record(Kind.EGRESS, what, decision, time.time_ns() // 1000, who, "", "", detail, why, status)


@contextmanager
def watching(told: Telling, database: Database, names_of: PathOf, uses_of: PathOf) -> Iterator[None]:
    """Follow for as long as the block lasts, and once at its end."""
    follower = Follower(told, names_of, uses_of)

    def follow() -> None:
        try:
            follower.follow([row.machine for row in networks.every(database)])
        except (errors.PilotError, OSError) as error:
            log.warning("audit: decisions of the network not read", extra={"error": str(error)})

    with periodic.every(PERIOD_S, "audit-egress", follow):
        yield
    follow()
