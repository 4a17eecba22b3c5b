"""A request that finds a sprite asleep is held until it is awake, for so long, and beside so many others at most."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator

from ...wire import faults
from ..services import ending
from ..services.sprites import Sprites
from ..store.sprites import Sprite
from . import pool
from .front import Front
from .pool import Pool
from .upstream import Upstream

HOLD_S = 30.0
MAX_HELD = 128  # requests to one sprite
# What a sprite starts by itself when it wakes may listen a little later than it is awake.
SETTLE_S = 10.0
_PAUSE_S = 0.05


class Waker:
    """For one event loop."""

    def __init__(self, sprites: Sprites, front: Front) -> None:
        self._sprites = sprites
        self._front = front
        self._held: Counter[str] = Counter()
        self._woken_s: dict[str, float] = {}

    async def wake(self, sprite: Sprite) -> None:
        """It is awake. `Unavailable` when it does not wake in time, `Exhausted` when too many wait for it already."""
        if self._sprites.is_ready(sprite):
            return
        with self._holding(sprite):
            await ending.finish(await asyncio.to_thread(self._sprites.wake, sprite), HOLD_S)
        now_s = time.monotonic()
        self._woken_s = {id: at_s for id, at_s in self._woken_s.items() if now_s - at_s < SETTLE_S}
        self._woken_s[sprite.id] = now_s

    async def connect(self, connections: Pool[Sprite], sprite: Sprite, port: int) -> Upstream:
        """A connection to its port; a little later where something is only starting. `NothingListens`."""
        until_s = self._woken_s.get(sprite.id, -SETTLE_S) + SETTLE_S
        is_asked = False
        while True:
            try:
                return await connections.connect(sprite, port)
            except pool.NothingListens:
                if not is_asked and await self._front.start(sprite, port):
                    until_s = time.monotonic() + SETTLE_S
                is_asked = True
                if time.monotonic() > until_s:
                    raise
            await asyncio.sleep(_PAUSE_S)

    @contextlib.contextmanager
    def _holding(self, sprite: Sprite) -> Iterator[None]:
        if self._held[sprite.id] >= MAX_HELD:
            raise faults.Exhausted(f"sprite {sprite.name} is waking, and {MAX_HELD} requests wait for it already")
        self._held[sprite.id] += 1
        try:
            yield
        finally:
            self._held[sprite.id] -= 1
            if not self._held[sprite.id]:
                del self._held[sprite.id]
