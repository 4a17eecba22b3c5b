"""Threads for what waits for machines, apart from those in which everything else of pilotd is done.

A machine may say nothing for as long as its deadline lets it: what waits for it meanwhile holds a thread. So such work
has threads of its own, and of these nobody gets more than a part.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import weakref
from collections.abc import Callable, Hashable
from typing import TypeVar

from ...wire import faults

T = TypeVar("T")


class Threads:
    """`most` at a time, and `most_of_one` of each who asks (an `asker`). Of one event loop. Work that has begun keeps
    its place until it ends, whether or not somebody still waits for it."""

    def __init__(self, name: str, most: int, most_of_one: int, asker: str = "app") -> None:
        self._name = name
        self._most = most
        self._most_of_one = most_of_one
        self._asker = asker
        self._pool = concurrent.futures.ThreadPoolExecutor(most, name)
        self._under_way: set[asyncio.Task[object]] = set()
        self._rooms: weakref.WeakValueDictionary[Hashable, asyncio.Semaphore] = weakref.WeakValueDictionary()

    async def in_turn(self, who: Hashable, work: Callable[[], T]) -> T:
        """What `work` returns or raises, when it has been its turn."""
        return await self._run(self._room(who), work)

    async def at_once(self, who: Hashable, work: Callable[[], T]) -> T:
        """As `in_turn`; `Exhausted` when it would have to wait."""
        room = self._room(who)
        if room.locked() or len(self._under_way) >= self._most:
            some = f"{self._most_of_one} of the same {self._asker}" if room.locked() else str(self._most)
            raise faults.Exhausted(f"{self._name}: {some} are under way", hint="try again in a while")
        return await self._run(room, work)

    async def _run(self, room: asyncio.Semaphore, work: Callable[[], T]) -> T:
        await room.acquire()
        task = asyncio.create_task(self._in_thread(work), name=self._name)
        self._under_way.add(task)
        task.add_done_callback(lambda _: self._ended(task, room))
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[T], room: asyncio.Semaphore) -> None:
        self._under_way.discard(task)
        room.release()
        if not task.cancelled():
            task.exception()  # seen: who waits is told of it, and who does not any more asked for nothing else

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _room(self, who: Hashable) -> asyncio.Semaphore:
        return self._rooms.setdefault(who, asyncio.Semaphore(self._most_of_one))
