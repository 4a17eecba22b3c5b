"""A place for a connection: at a Machine that has the service, started if need be, and waited for where all are full.

count ─► is it started still? ─► the caller's, who connects
  └ so a Machine is not put to rest between the choice and the connection: whoever stops one for want of use says
    that it stops *before* it counts (`operations.fly_rest`)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractContextManager

from .... import errors
from ....ids import MachineId
from ....wire import faults
from ...fly import balance
from ...fly.balance import Candidate, Choice
from ...fly.services import Protocol
from ...operations.uses import Cut
from ...services import ending
from ...services.fly import FlyMachines
from ...services.fly_ways import Backend, Way
from .directory import Directory
from .health import Health

log = logging.getLogger(__name__)

HOLD_S = 30.0
MAX_HELD = 128  # of one app
# Of one app, which have their place or wait for it: all apps and sprites share what there is (`relay.crowd`).
MAX_AT_ONCE = 512
# Flows of datagrams among these: whoever sends them may say that it is anybody. More than one port's
# (`datagrams.MOST`), where a newcomer takes the place of one that was never answered.
MAX_FLOWS, MAX_FLOWS_HELD = 320, 64
START_S = 60.0
# What nobody tells of: the end of a check.
LOOK_S = 0.25
_ALL, _FLOWS = "connections", "flows of datagrams"


class Places:
    """For one event loop."""

    def __init__(self, machines: FlyMachines, directory: Directory, health: Health) -> None:
        self._machines = machines
        self._ways = machines.ways
        self._directory = directory
        self._health = health
        self._starting: dict[MachineId, asyncio.Task[None]] = {}
        self._open: Counter[tuple[str, str]] = Counter()
        self._held: Counter[tuple[str, str]] = Counter()
        self._waiting: set[asyncio.Event] = set()

    @contextlib.asynccontextmanager
    async def place(self, way: Way, cut: Cut, without: Collection[MachineId] = ()) -> AsyncIterator[Backend]:
        """At none of `without`. `Unavailable` when there is none in time, or the app has as many connections as it may;
        `Exhausted` when too many wait for one."""
        with self._counted(way):
            while True:
                chosen = await self._choose(way, without)
                of_machine, of_service = self._ways.using(chosen, cut)
                try:
                    with of_machine, of_service:
                        if await self._is_started(way, chosen):
                            yield chosen
                            return
                finally:
                    self._tell()

    async def _is_started(self, way: Way, chosen: Backend) -> bool:
        """Whether it still has its place there."""
        now = await self._directory.backends(way)
        return any(each.id == chosen.id and each.row.state == "started" for each in now)

    async def _choose(self, way: Way, without: Collection[MachineId]) -> Backend:
        begun: set[MachineId] = set()
        found, choice = await self._look(way, without, begun)
        if choice.to is not None:
            return found[choice.to]
        if not choice.waits:
            raise _nowhere(way)
        with self._holding(way), self._told() as told:
            try:
                async with asyncio.timeout(HOLD_S):
                    while choice.to is None:
                        if not choice.waits:
                            raise _nowhere(way)
                        await _news(told)
                        found, choice = await self._look(way, without, begun)
            except TimeoutError as error:
                raise faults.Unavailable(f"app {way.app.name}: no machine had room within {HOLD_S:.0f} s") from error
        return found[choice.to]

    async def _look(
        self, way: Way, without: Collection[MachineId], begun: set[MachineId]
    ) -> tuple[dict[MachineId, Backend], Choice]:
        """As it is now; what is to be started for it is being started. One connection starts no Machine twice."""
        backends = await self._directory.backends(way)
        unhealthy = await self._health.unhealthy(backends)
        ended = {id for id in begun if id not in self._starting}
        choice = balance.choose([self._candidate(each, unhealthy, ended) for each in backends], without=without)
        found = {each.id: each for each in backends}
        if choice.start is not None:
            begun.add(choice.start)
            self._start(found[choice.start])
        return found, choice

    def _candidate(self, backend: Backend, unhealthy: Collection[str], ended: Collection[MachineId]) -> Candidate:
        row = backend.row
        is_starting = row.id in self._starting and row.state in balance.STARTABLE  # which is soon written down
        return Candidate(
            id=row.id,
            state="starting" if is_starting else row.state,
            service=backend.service,
            load=self._ways.load(backend),
            is_healthy=row.id not in unhealthy,
            is_cordoned=row.cordoned,
            may_start=row.id not in ended and not self._ways.is_leased(row),
        )

    def _start(self, backend: Backend) -> None:
        if backend.id in self._starting:
            return
        task = asyncio.create_task(self._started(backend), name=f"start of {backend.id}")
        self._starting[backend.id] = task
        task.add_done_callback(lambda _: self._ended(backend.id))

    def _ended(self, id: MachineId) -> None:
        del self._starting[id]
        self._tell()

    async def _started(self, backend: Backend) -> None:
        try:
            ended = await asyncio.to_thread(self._machines.start, backend.row, None, source="flyd")
            if ended is not None:
                await ending.finish(ended, START_S)
        except errors.PilotError as error:  # its events say so, too; who waits for it is told by what it is then
            log.info("machine not started for a connection", extra={"machine": backend.id, "error": str(error)})

    # Those who wait

    def _counted(self, way: Way) -> AbstractContextManager[None]:
        return _one_more(
            self._open, way, MAX_AT_ONCE, MAX_FLOWS,
            lambda what: faults.Unavailable(f"app {way.app.name} has {what} open already"),
        )  # fmt: skip

    def _holding(self, way: Way) -> AbstractContextManager[None]:
        return _one_more(
            self._held, way, MAX_HELD, MAX_FLOWS_HELD,
            lambda what: faults.Exhausted(f"app {way.app.name}: {what} wait for a machine already"),
        )  # fmt: skip

    @contextlib.contextmanager
    def _told(self) -> Iterator[asyncio.Event]:
        """Set when something was written, or a place was left."""
        told, loop = asyncio.Event(), asyncio.get_running_loop()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(told.set)

        stop = self._ways.watch(tell)
        self._waiting.add(told)
        told.set()  # what happened before is seen by a first look
        try:
            yield told
        finally:
            self._waiting.discard(told)
            stop()

    def _tell(self) -> None:
        for told in self._waiting:
            told.set()


@contextlib.contextmanager
def _one_more(
    counts: Counter[tuple[str, str]], way: Way, most: int, most_flows: int, refusal: Callable[[str], errors.PilotError]
) -> Iterator[None]:
    """Of that app, for as long as the block lasts; of datagrams among all, too."""
    limits = [(_ALL, most)]
    if way.ports.protocol is Protocol.UDP:
        limits.append((_FLOWS, most_flows))
    for what, limit in limits:
        if counts[way.app.id, what] >= limit:
            raise refusal(f"{limit} {what}")
    counts.update((way.app.id, what) for what, _ in limits)
    try:
        yield
    finally:
        for what, _ in limits:
            counts[way.app.id, what] -= 1
            if not counts[way.app.id, what]:
                del counts[way.app.id, what]


async def _news(told: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):  # a look at what nobody tells of
        async with asyncio.timeout(LOOK_S):
            await told.wait()
    told.clear()


def _nowhere(way: Way) -> faults.Unavailable:
    return faults.Unavailable(
        f"app {way.app.name}: no machine takes connections at port {way.port}",
        hint="none runs, or is healthy, and none may be started",
    )
