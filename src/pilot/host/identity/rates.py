"""How often each of many may ask: a bucket of tokens for each, filled at a steady rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

from ...wire import faults

MOST_KNOWN = 4096


class Rates:
    """`burst` at once, then `per_s`. Safe to use from any thread."""

    def __init__(self, burst: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[Hashable, tuple[float, float]] = {}  # how many, and when that was

    def take(self, who: Hashable) -> None:
        """`Exhausted` when it has asked too often."""
        with self._lock:
            now_s = self._clock()
            left, at_s = self._left.pop(who, (float(self._burst), now_s))
            left = min(float(self._burst), left + (now_s - at_s) * self._per_s)
            while len(self._left) >= MOST_KNOWN:
                del self._left[next(iter(self._left))]  # who has not asked for longest
            self._left[who] = (max(left - 1, 0) if left >= 1 else left, now_s)
        if left < 1:
            raise faults.Exhausted(f"asked too often: {self._burst} at once, then {self._per_s:g} a second")
