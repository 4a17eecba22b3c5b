"""Machines whose containers have ended by themselves are stopped; those that are to go then, go.

Restart policies are pilot's, in the machine: an end that is seen here is for good. A machine that has gone as a whole
(the host was started anew, somebody killed it) is started again, unless its policy is `no`.

    commit ─► who is started by now ─► a task for each of them ─► its events ─► a look at it ─► exit, start, destroy

A Machine that says nothing keeps one of LOOKS_AT_ONCE looks for as long as a call takes, and nobody else's events.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from ... import errors
from ...ids import MachineId
from ...machine import lines
from ...wire import operations
from ..fly import config as configs
from ..fly.config import Config
from ..fsm import engine as engines
from ..fsm.documents import Nothing
from ..fsm.engine import Engine
from ..operations import fly as steps
from ..operations import fly_requests as requests
from ..operations.context import Host
from ..operations.fly_requests import MACHINE, Begin, Ended
from ..store import fly
from ..store.fly import Machine

log = logging.getLogger(__name__)

LOOKS_AT_ONCE = 16
# How long one that says nothing is left alone, and how long the store is when nothing was written to it.
PAUSE_S = 1.0
# After something has happened: when it is looked at, unless something else happens before.
LOOKS_AFTER_S = (0.0, 0.02, 0.2, PAUSE_S)
# Between two looks at the store, however much is written to it.
LEAST_S = 0.01
_FOLLOW = (("follow", "true"),)

T = TypeVar("T")


class Judge:
    """What is to be begun for a Machine, now. Blocks: its machine is asked."""

    def __init__(self, host: Host, engine: Engine) -> None:
        self._host = host
        self._engine = engine

    def at_rest(self, id: MachineId) -> None:
        """One that has been stopped goes, where it is to: nobody waits for that."""
        row = fly.by_id(self._host.database, id)
        if row.state == "stopped" and configs.parse(row.config).auto_destroy:
            self._engine.join(requests.DESTROY, id, Nothing())

    def running(self, id: MachineId) -> engines.Ended | None:
        """The run that its end has led to; None while it runs. What is under way for it already is left to itself."""
        row = fly.by_id(self._host.database, id)
        if row.state != "started" or self._is_busy(id):
            return None
        ended = steps.end_of(self._host, row)
        return None if ended is None else self._ended(row, configs.parse(row.config), ended)

    def _is_busy(self, id: MachineId) -> bool:
        return any((run.kind, run.resource) == (MACHINE, id) for run in self._engine.active())

    def _ended(self, row: Machine, config: Config, ended: Ended) -> engines.Ended:
        policy = config.restart.policy if config.restart else None
        if ended.has_gone and policy != "no" and not config.auto_destroy:
            return self._engine.join(requests.START, row.id, Begin("flyd"))
        return self._engine.join(requests.EXIT, row.id, ended)


Events = Callable[[MachineId], AsyncIterator[object]]


class Exits:
    """One task for each Machine that is started. `events`: something has happened in it, as long as it tells."""

    def __init__(self, host: Host, judge: Judge, events: Events) -> None:
        self._host = host
        self._judge = judge
        self._events = events
        self._pool = concurrent.futures.ThreadPoolExecutor(LOOKS_AT_ONCE, "exits")
        self._followed: dict[MachineId, asyncio.Task[None]] = {}
        self._judged: dict[MachineId, str] = {}

    async def watch(self, ended: asyncio.Event) -> None:
        """Until `ended`."""
        loop = asyncio.get_running_loop()
        written = asyncio.Event()
        stop = self._host.database.watch(lambda: _wake(loop, written))
        loop.call_soon(written.set)
        try:
            while not ended.is_set():
                await _first_of(ended, written, most_s=PAUSE_S)
                written.clear()
                await self._look()
                await _first_of(ended, most_s=LEAST_S)
        finally:
            stop()
            await self._end()

    async def _end(self) -> None:
        for task in self._followed.values():
            task.cancel()
        await asyncio.gather(*self._followed.values(), return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def _look(self) -> None:
        database = self._host.database
        started, stopped = await self._in_thread(
            lambda: (fly.in_state(database, "started"), fly.in_state(database, "stopped"))
        )
        for id, _ in started:
            if id not in self._followed or self._followed[id].done():
                self._followed[id] = asyncio.create_task(self._follow(id), name=f"exits of {id}")
        for id in [id for id, task in self._followed.items() if task.done()]:
            del self._followed[id]
        for id, version in stopped:
            if self._judged.get(id) != version:
                await self._safely(id, functools.partial(self._judge.at_rest, id))
        self._judged = dict(stopped)

    async def _follow(self, id: MachineId) -> None:
        """Until it is not started any more."""
        while await self._is_started(id):
            happened = asyncio.Event()
            reading = asyncio.create_task(self._read(id, happened), name=f"events of {id}")
            try:
                while not reading.done():
                    await happened.wait()
                    await self._after(id, happened)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            await asyncio.sleep(PAUSE_S)

    async def _read(self, id: MachineId, happened: asyncio.Event) -> None:
        try:
            async for _ in self._events(id):
                happened.set()
        except errors.PilotError as error:
            log.info("machine does not say what happens", extra={"machine": id, "error": str(error)})
        happened.set()  # also that it says no more

    async def _after(self, id: MachineId, happened: asyncio.Event) -> None:
        """Looks after something has happened: what follows from it takes the machine a moment. All of them after the
        last of several things, which may have happened during any look at those before it."""
        looks = iter(LOOKS_AFTER_S)
        while (delay_s := next(looks, None)) is not None:
            await _first_of(happened, most_s=delay_s)
            if happened.is_set():
                happened.clear()
                looks = iter(LOOKS_AFTER_S[1:])
            await self._safely(id, lambda: self._judge.running(id))

    async def _is_started(self, id: MachineId) -> bool:
        try:
            row = await self._in_thread(lambda: fly.by_id(self._host.database, id))
        except errors.NotFound:
            return False
        return row.state == "started"

    async def _safely(self, id: MachineId, judge: Callable[[], engines.Ended | None]) -> None:
        """With what it leads to: until that has ended, what is seen of it is what that does."""
        try:
            run = await self._in_thread(judge)
            if run is not None:
                await asyncio.wrap_future(run)
        except errors.PilotError as error:
            log.info("machine does not say how it is", extra={"machine": id, "error": str(error)})

    async def _in_thread(self, ask: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, ask)


async def _first_of(*events: asyncio.Event, most_s: float) -> None:
    """Until one of them has come, or the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(event.set)


@contextlib.contextmanager
def watching(host: Host, engine: Engine) -> Iterator[None]:
    """For as long as the block lasts, on a thread of its own."""

    def events(id: MachineId) -> AsyncIterator[object]:
        return lines.follow(host.substrate(id).dial_path(id), operations.WATCH_EVENTS, query=_FOLLOW)

    exits = Exits(host, Judge(host, engine), events)
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=_run, args=(loop, exits, ended), name="exits", daemon=True)
    thread.start()
    try:
        yield
    finally:
        _wake(loop, ended)
        thread.join()


def _run(loop: asyncio.AbstractEventLoop, exits: Exits, ended: asyncio.Event) -> None:
    with contextlib.closing(loop):
        loop.run_until_complete(exits.watch(ended))
