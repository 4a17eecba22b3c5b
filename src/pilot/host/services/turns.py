"""A run that is to follow another one of its kind, for the same resource, instead of being refused for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...ids import RunId
from ...wire import faults
from ..fsm.engine import Ended
from ..fsm.outcome import AlreadyActive, Outcome
from . import ending

LOOK_S = 0.01  # at one that has ended, or has not been taken up yet, between the two questions


async def follow(start: Callable[[], Ended], under_way: Callable[[RunId], Ended | None], timeout_s: float) -> Outcome:
    """Start it when whatever `AlreadyActive` names has ended, however that did, and wait for it as `ending.finish`.

    Both callables may block.
    """
    try:
        async with asyncio.timeout(timeout_s):
            started = await _started(start, under_way)
    except TimeoutError as error:
        raise faults.Unavailable(f"others are before it, not begun within {timeout_s:.0f} s") from error
    return await ending.finish(started, timeout_s)


async def _started(start: Callable[[], Ended], under_way: Callable[[RunId], Ended | None]) -> Ended:
    while True:
        try:
            return await asyncio.to_thread(start)
        except AlreadyActive as active:
            before = await asyncio.to_thread(under_way, active.run)
            if before is None:
                await asyncio.sleep(LOOK_S)
            else:
                await asyncio.wait({asyncio.wrap_future(before)})
