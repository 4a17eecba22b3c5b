"""A moment by which something has to happen, put off or called off far more often than it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """`act` is called once the last `within` is over, unless it was called `off` before. Of one event loop.

    One timer serves for all moments of a connection: it looks, when it fires, whether the moment has moved. A timer of
    its own for each would cost more than reading the request that it is for.
    """

    def __init__(self, act: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._act = act
        self._at_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fires_s = 0.0

    @property
    def is_set(self) -> bool:
        return self._at_s is not None

    def within(self, seconds: float) -> None:
        """From now on; an earlier moment is forgotten."""
        self._at_s = at_s = self._loop.time() + seconds
        if self._timer is None or at_s < self._fires_s:
            self._arm(at_s)

    def off(self) -> None:
        """Whatever was to happen has, or need not any more."""
        self._at_s = None

    def end(self) -> None:
        """No timer is left: what `act` holds may go."""
        self._at_s = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._fires_s = self._loop.call_at(at_s, self._look), at_s

    def _look(self) -> None:
        self._timer = None
        if self._at_s is None:
            return
        if self._loop.time() < self._at_s:
            self._arm(self._at_s)
            return
        self._at_s = None
        self._act()
