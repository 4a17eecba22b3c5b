"""How many requests are under way, and since when there has been none."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator


class Activity:
    """Shared by the threads that answer."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._last = time.monotonic()

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        with self._changed:
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._last = time.monotonic()
                self._changed.notify_all()

    def idle_s(self) -> float:
        """For how long nothing has been going on."""
        with self._changed:
            return 0.0 if self._count else time.monotonic() - self._last

    def wait_until_none(self, timeout_s: float) -> None:
        """Nothing is going on any more, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, timeout_s)
