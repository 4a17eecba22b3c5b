"""The machine's own macaroon: asked of the host when it is needed, kept here and nowhere else, and never shown inside.

It is locked to this machine: the host takes it only with a request that comes by this machine's socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...wire import operations, outward
from ..outward import Outward
from .broker import Held, Moment, now


class OwnToken:
    """On the running loop."""

    def __init__(self, host: Outward, clock: Callable[[], Moment] = now) -> None:
        self._host = host
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = ""
        self._held: Held | None = None

    async def get(self) -> str:
        """As an Authorization header has it. `Unavailable` where no pilotd answers."""
        async with self._lock:
            if self._held is None or not self._held.is_fresh(self._clock()):
                began = self._clock()
                made = await self._host.call(outward.CREATE_MACHINE_TOKEN, None, operations.QUICK_S / 2)
                self._token, self._held = made.token, Held("", began, made.expires_s - made.issued_s)
            return self._token

    def refused(self) -> None:
        """The host does not take it any more: another one is asked for."""
        self._held = None
