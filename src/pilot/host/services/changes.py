"""Which sprites have changed, for as many followers as there are, at the price of one reader.

    store.events ── told of commits ──► reader: events.since ──► a set of ids per follower ──► `Follower.changed`
    the kernel (a machine that died) ── looked at every SWEEP_S, once for all followers ──►┘

A follower that is slow finds all that has changed meanwhile in one set: nothing is queued, nothing is lost. The reader
runs as long as somebody follows. Everything here belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable, Mapping

from ... import errors
from ..store import events
from ..store.database import Database

log = logging.getLogger(__name__)

SWEEP_S = 5.0
_SUBJECT = "sprite/"


class Follower:
    """What has changed since it was asked last."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._woken = asyncio.Event()

    def tell(self, sprites: frozenset[str]) -> None:
        self._changed |= sprites
        self._woken.set()

    async def changed(self, timeout_s: float) -> frozenset[str]:
        """Ids of sprites; none when nothing changed for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        found = frozenset(self._changed)
        self._changed.clear()
        self._woken.clear()
        return found


class Changes:
    """`statuses()` asks the kernel for the status of every sprite, by id; it may block."""

    def __init__(self, database: Database, statuses: Callable[[], Mapping[str, str]]) -> None:
        self._database = database
        self._statuses = statuses
        self._followers: set[Follower] = set()
        self._beginning = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[Follower]:
        """From here on nothing is missed: what one looks at afterwards is at least as new."""
        follower = Follower()
        self._followers.add(follower)
        try:
            async with self._beginning:
                if self._reading is None:
                    self._reading = await self._begin()
            yield follower
        finally:
            self._followers.discard(follower)
            if not self._followers and self._reading is not None:
                self._reading.cancel()
                self._reading = None

    async def _begin(self) -> asyncio.Task[None]:
        told = asyncio.Event()
        stop = self._database.watch(functools.partial(_tell, asyncio.get_running_loop(), told))
        try:
            seen = await asyncio.to_thread(events.latest, self._database)
            statuses = await asyncio.to_thread(self._statuses)
        except BaseException:
            stop()
            raise
        reading = asyncio.create_task(self._read(told, seen, statuses), name="changes")
        reading.add_done_callback(lambda _: stop())
        return reading

    async def _read(self, told: asyncio.Event, seen: int, statuses: Mapping[str, str]) -> None:
        while True:
            try:
                if await _comes(told, SWEEP_S):
                    seen = await self._pass_on(seen)
                else:
                    statuses = await self._sweep(statuses)
            except (errors.PilotError, OSError) as error:
                log.warning("changes not read", extra={"error": str(error)})
                told.set()  # what was not read is read at the next attempt
                await asyncio.sleep(SWEEP_S)

    async def _pass_on(self, seen: int) -> int:
        """What has been written after `seen`; the last of it."""
        while found := await asyncio.to_thread(events.since, self._database, seen):
            self._tell({event.subject.removeprefix(_SUBJECT) for event in found if event.subject.startswith(_SUBJECT)})
            seen = found[-1].seq
        return seen

    async def _sweep(self, before: Mapping[str, str]) -> Mapping[str, str]:
        """What the kernel did by itself."""
        now = await asyncio.to_thread(self._statuses)
        self._tell({id for id, status in now.items() if before.get(id, status) != status})
        return now

    def _tell(self, sprites: set[str]) -> None:
        if sprites:
            for follower in self._followers:
                follower.tell(frozenset(sprites))


def _tell(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    """On the thread of whoever has committed."""
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody follows any more
        loop.call_soon_threadsafe(told.set)


async def _comes(told: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await told.wait()
    except TimeoutError:
        return False
    told.clear()
    return True
