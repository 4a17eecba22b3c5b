"""Which Machine of an app a connection goes to, and which is to be started or stopped for that. Pure.

    has room below its soft limit      the one with the least for its limit
    none has                           one is started, where one may be; meanwhile one below its hard limit takes it
    all are at their hard limits       it waits for room

One that is cordoned, or whose service's checks do not pass, gets nothing. Of running Machines that rest when they are
not needed there are too many when there is one beside one for each that is over its soft limit (Fly's excess capacity).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

from ...ids import MachineId
from .services import Rest, Service

# From these a Machine is started for a connection, and by itself it comes from the others to one of them, or up.
STARTABLE = frozenset({"stopped", "suspended"})
_ON_ITS_WAY = frozenset({"starting", "restarting", "stopping", "suspending", "replacing"})


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A Machine that has the service, as it is now. `load`: connections to the service that are open."""

    id: MachineId
    state: str
    service: Service
    load: int = 0
    is_healthy: bool = True
    is_cordoned: bool = False
    may_start: bool = True

    @property
    def takes(self) -> bool:
        return self.state == "started" and self.is_healthy and not self.is_cordoned

    @property
    def is_below_soft(self) -> bool:
        return self.load < self.service.soft_limit

    @property
    def is_below_hard(self) -> bool:
        return self.service.hard_limit is None or self.load < self.service.hard_limit

    @property
    def share(self) -> float:
        """Of what it takes gladly."""
        return self.load / self.service.soft_limit if self.service.soft_limit else math.inf


@dataclasses.dataclass(frozen=True)
class Choice:
    """`to`: where the connection goes. `start`: what is to be started for it, or for those after it. With neither,
    `waits` says whether there may be a place soon."""

    to: MachineId | None = None
    start: MachineId | None = None
    waits: bool = False


def choose(candidates: Sequence[Candidate], *, without: Collection[MachineId] = ()) -> Choice:
    """`without`: those that were tried already."""
    left = [each for each in candidates if each.id not in without and not each.is_cordoned]
    ready = sorted((each for each in left if each.takes), key=lambda each: (each.share, each.id))
    if ready and ready[0].is_below_soft:
        return Choice(ready[0].id)
    start = next((each.id for each in left if _may_start(each)), None)
    # One is on its way already: a second one would come for the same connections.
    start = None if any(each.state in ("starting", "restarting") for each in left) else start
    below_hard = next((each.id for each in ready if each.is_below_hard), None)
    waits = bool(ready) or start is not None or any(_may_come(each) for each in left)
    return Choice(below_hard, start, waits)


def _may_start(one: Candidate) -> bool:
    return one.state in STARTABLE and one.service.autostart and one.may_start


def _may_come(one: Candidate) -> bool:
    return one.state in _ON_ITS_WAY or (one.state == "started" and not one.is_healthy)


@dataclasses.dataclass(frozen=True)
class Running:
    """A Machine that runs, for who asks whether it has to. `load` and `is_over_soft`: of all its services."""

    id: MachineId
    rest: Rest
    load: int
    is_over_soft: bool
    idle_s: float
    least_running: int = 0


def excess(running: Sequence[Running]) -> int:
    """How many of the Machines of one service are not needed."""
    if len(running) == 1:
        spare = 0 if running[0].load else 1
    else:
        spare = len(running) - (sum(each.is_over_soft for each in running) + 1)
    least = max((each.least_running for each in running), default=0)
    return max(0, min(spare, len(running) - least))


def rests(running: Sequence[Running], after_s: float) -> Running | None:
    """The one that is stopped now, of those that nobody has used for so long: the longest idle. One at a time."""
    if not excess(running):
        return None
    idle = [each for each in running if each.rest is not Rest.OFF and not each.load and each.idle_s >= after_s]
    return max(idle, key=lambda each: each.idle_s, default=None)
