"""Threads for what waits for machines, apart from those in which everything else of pilotd is done.

A machine may say nothing for as long as its deadline lets it: what waits for it meanwhile holds a thread. So such work
has threads of its own. Of these nobody holds more than a fixed part, nor more than are left free: few who ask get what
they want, and many whose machines all say nothing leave some for who comes next (dynamic thresholds; Choudhury and
Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998). With `n` of them that are greedy each
has `most / (n + 1)`, and as many stay free.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
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
        self._places: collections.Counter[Hashable] = collections.Counter()  # that are taken
        self._waiting: dict[asyncio.Future[None], Hashable] = {}  # in the order in which they came

    async def in_turn(self, who: Hashable, work: Callable[[], T]) -> T:
        """What `work` returns or raises, when it has been its turn."""
        if not self._take(who):
            await self._turn(who)
        return await self._run(who, work)

    async def at_once(self, who: Hashable, work: Callable[[], T]) -> T:
        """As `in_turn`; `Exhausted` when it would have to wait."""
        if not self._take(who):
            mine = self._places[who]
            some = f"{mine} of the same {self._asker}" if mine else str(self._places.total())
            raise faults.Exhausted(f"{self._name}: {some} are under way", hint="try again in a while")
        return await self._run(who, work)

    def _take(self, who: Hashable) -> bool:
        """A place, if there is one for who asks."""
        free = self._most - self._places.total()
        if self._places[who] >= min(self._most_of_one, free):
            return False
        self._places[who] += 1
        return True

    async def _turn(self, who: Hashable) -> None:
        """A place is taken when this returns."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = who
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                del self._waiting[turn]
            else:  # it was given a place in the same moment
                self._leave(who)
            raise

    def _leave(self, who: Hashable) -> None:
        self._places[who] -= 1
        if not self._places[who]:
            del self._places[who]
        for turn, waits in tuple(self._waiting.items()):
            if not turn.done() and self._take(waits):
                del self._waiting[turn]
                turn.set_result(None)

    async def _run(self, who: Hashable, work: Callable[[], T]) -> T:
        task = asyncio.create_task(self._in_thread(work), name=self._name)
        task.add_done_callback(lambda _: self._ended(task, who))
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[T], who: Hashable) -> None:
        self._leave(who)
        if not task.cancelled():
            task.exception()  # seen: who waits is told of it, and who does not any more asked for nothing else

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
