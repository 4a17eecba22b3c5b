"""How many runs of a kind go on at once; the others wait their turn, first come, first served.

A run that pauses (to try again, or for a child) gives its slot away and waits for one again afterwards, so that what is
stuck never holds up what is not.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable


class Slots:
    """`cap`: None is no limit. Safe to use from any thread."""

    def __init__(self, cap: int | None) -> None:
        self._cap = cap
        self._taken = 0
        self._waiting: collections.deque[Callable[[], None]] = collections.deque()
        self._open = False
        self._lock = threading.Lock()

    def ask(self, granted: Callable[[], None]) -> None:
        """`granted` is called with a slot that is the caller's, now or on the thread of whoever gives one up."""
        with self._lock:
            self._waiting.append(granted)
        self._grant()

    def give_up(self) -> None:
        with self._lock:
            self._taken -= 1
        self._grant()

    def wait(self) -> None:
        """`ask`, and return with it."""
        turn = threading.Event()
        self.ask(turn.set)
        turn.wait()

    def open(self) -> None:
        """No limit from here on: everybody is to come to an end."""
        with self._lock:
            self._open = True
        self._grant()

    @property
    def waiting(self) -> int:
        with self._lock:
            return len(self._waiting)

    def _grant(self) -> None:
        while (granted := self._next()) is not None:
            granted()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            is_free = self._open or self._cap is None or self._taken < self._cap
            if not self._waiting or not is_free:
                return None
            self._taken += 1
            return self._waiting.popleft()
