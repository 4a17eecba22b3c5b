"""A few containers are made at a time: all at once would be done no sooner, and the first not before the last."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

# That are made at a time, and for how long one waits for the others.
AT_ONCE, TURN_S = 4, 1.0


class Turns:
    """Of those of one machine. Those that are stuck hold nobody up for longer than TURN_S."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """For as long as the block lasts."""
        try:
            async with asyncio.timeout(TURN_S):
                await self._slots.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._slots.release()
