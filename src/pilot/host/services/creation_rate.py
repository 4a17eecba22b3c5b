"""How many sprites an organisation may make in a while, where the operator has set a limit.

A window that slides: of the creations within the last `window_s` there may be `limit`. Each one that was begun counts,
a fork of N counts N, and a child of a sprite as any other. A pilotd that starts anew knows none of before.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections import deque
from collections.abc import Callable

from ... import errors
from ...wire import faults


class RateLimited(faults.Exhausted):
    """Of what may be done `limit` times in `window_s` too few are left, `remaining`; enough in `retry_after_s`."""

    def __init__(self, message: str, limit: int, remaining: int, window_s: float, retry_after_s: float) -> None:
        super().__init__(message, hint=f"try again in {retry_after_s:.0f} s")
        self.limit = limit
        self.remaining = remaining
        self.window_s = window_s
        self.retry_after_s = retry_after_s


@dataclasses.dataclass(frozen=True)
class Allowance:
    """What is left, and in how many seconds there is more again."""

    limit: int
    remaining: int
    more_in_s: float


class CreationRate:
    """Of each organisation. Safe to use from any thread. `limit` 0: as many as one likes."""

    def __init__(self, limit: int = 0, window_s: float = 60.0, now_s: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._window_s = window_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._begun: dict[str, deque[float]] = {}

    def take(self, organisation: str, count: int = 1) -> None:
        """`RateLimited` when there are not so many left; then none is taken."""
        if not self._limit:
            return
        with self._lock:
            begun, now_s = self._recent(organisation)
            if len(begun) + count > self._limit:
                raise self._refused(begun, count, now_s)
            begun.extend([now_s] * count)

    def left(self, organisation: str) -> Allowance | None:
        """None where there is no limit."""
        if not self._limit:
            return None
        with self._lock:
            begun, now_s = self._recent(organisation)
            more_in_s = begun[0] + self._window_s - now_s if begun else 0.0
            return Allowance(self._limit, self._limit - len(begun), more_in_s)

    def _recent(self, organisation: str) -> tuple[deque[float], float]:
        now_s = self._now_s()
        begun = self._begun.setdefault(organisation, deque())
        while begun and begun[0] <= now_s - self._window_s:
            begun.popleft()
        return begun, now_s

    def _refused(self, begun: deque[float], count: int, now_s: float) -> RateLimited:
        """Says when so many have gone that there is room, which for more than the limit is never."""
        going = len(begun) + count - self._limit
        again_s = begun[going - 1] + self._window_s - now_s if going <= len(begun) else self._window_s
        many = f"{self._limit} sprites in {self._window_s:g} s"
        return RateLimited(
            f"an organisation may make {many}", self._limit, self._limit - len(begun), self._window_s, again_s
        )


def parse(text: str) -> tuple[int, float]:
    """`COUNT/SECONDS`, or `off`. `PilotError`."""
    if text == "off":
        return 0, 60.0
    count, slash, seconds = text.partition("/")
    try:
        limit, window_s = int(count), float(seconds)
    except ValueError:
        limit, window_s = 0, math.nan
    if not slash or not 1 <= limit <= 1_000_000 or not 1 <= window_s <= 86400:
        raise errors.PilotError(
            f"--create-limit {text}: not COUNT/SECONDS", hint="30/60: thirty in each minute; or off"
        )
    return limit, window_s
