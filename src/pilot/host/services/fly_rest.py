"""The watch that puts Machines to rest that their services do not need (`autostop`), one of a service in each round.

    an app's Machines that run ─ by the ports that they share ─► too many? (fly/balance) ─► the longest idle one rests

A Machine of several services rests when all of them let it, and is stopped where one of them says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from ... import errors
from ...ids import MachineId
from .. import periodic
from ..fly import balance
from ..fly.balance import Running
from ..fly.services import Rest
from ..store.fly import Machine
from .fly import FlyMachines
from .fly_ways import Backend, Served

log = logging.getLogger(__name__)

PERIOD_S = 1.0
# As upstream's "several minutes".
AFTER_S = 300.0


class RestWatch:
    """One round at a time, by whoever calls `round`. `after_s`: how long one is idle before; 0 is never."""

    def __init__(self, machines: FlyMachines, after_s: float) -> None:
        self._machines = machines
        self._after_s = after_s
        self._served: list[Served] = []
        self._writes = -1

    def round(self) -> None:
        """Begin what is due; nothing is waited for."""
        for served in self._known():
            for group in groups(served):
                self._attend(group)

    def _known(self) -> list[Served]:
        """Apps with a Machine that may rest."""
        writes = self._machines.ways.writes
        if writes != self._writes:
            every = self._machines.ways.every()
            self._served = [each for each in every if any(b.service.autostop is not Rest.OFF for b in each.backends)]
            self._writes = writes
        return self._served

    def _attend(self, group: Sequence[Sequence[Backend]]) -> None:
        due = balance.rests([self._running(services) for services in group], self._after_s)
        if due is None:
            return
        row = next(services[0].row for services in group if services[0].id == due.id)
        if self._machines.ways.is_leased(row):
            return
        log.info("machine rests", extra={"machine": row.id, "idle_s": round(due.idle_s), "rest": due.rest.value})
        self.begin(row, due.rest)

    def begin(self, row: Machine, rest: Rest) -> None:
        self._machines.rest(row, suspend=rest is Rest.SUSPEND)

    def _running(self, services: Sequence[Backend]) -> Running:
        ways, id = self._machines.ways, services[0].id
        return Running(
            id=id,
            rest=_rest([each.service.autostop for each in services]),
            load=ways.connections(id),
            is_over_soft=any(ways.load(each) > each.service.soft_limit for each in services),
            idle_s=ways.idle_s(id),
            least_running=max(each.service.least_running for each in services),
        )


def groups(served: Served) -> Iterator[list[list[Backend]]]:
    """Its Machines that run, each as its services, by the ports that these have."""
    machines: dict[MachineId, list[Backend]] = {}
    for backend in served.backends:
        if backend.row.state == "started":
            machines.setdefault(backend.id, []).append(backend)
    found: dict[frozenset[tuple[object, ...]], list[list[Backend]]] = {}
    for services in machines.values():
        ports = frozenset(
            (each.first, each.last, each.protocol) for backend in services for each in backend.service.ports
        )
        found.setdefault(ports, []).append(services)
    yield from found.values()


def _rest(wanted: Sequence[Rest]) -> Rest:
    if Rest.OFF in wanted:
        return Rest.OFF
    return Rest.STOP if Rest.STOP in wanted else Rest.SUSPEND


def watching(machines: FlyMachines, after_s: float) -> AbstractContextManager[None]:
    """A round each second, for as long as the block lasts."""
    watch = RestWatch(machines, after_s)
    return periodic.every(PERIOD_S, "rest-watch", lambda: _round(watch))


def _round(watch: RestWatch) -> None:
    try:
        watch.round()
    except (errors.PilotError, OSError) as error:
        log.warning("rest watch", extra={"error": str(error)})
    except Exception:  # a fault of ours, with which autostop must not end for good
        log.exception("rest watch")
