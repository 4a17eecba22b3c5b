"""Who uses which sprite at the moment, and when somebody last did: what a sprite may rest by.

A use is open for as long as a connection lasts (an exec, a proxy, a relayed call, a request to its URL); a detached
session is none. Whoever begins one counts *before* asking whether the sprite is ready, and a sprite that goes to rest
is no longer ready *before* its uses are counted: so either the rest is called off, or the user wakes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Cut = Callable[[], object]


class Use:
    """One of a sprite, open while it is entered; each request is one."""

    __slots__ = ("_uses", "cut", "outlives", "sprite")

    def __init__(self, uses: Uses, sprite: str, cut: Cut, *, outlives: bool) -> None:
        self._uses = uses
        self.sprite = sprite
        self.cut = cut
        self.outlives = outlives

    def __enter__(self) -> None:
        with self._uses._lock:
            self._uses._open.setdefault(self.sprite, set()).add(self)

    def __exit__(self, *_: object) -> None:
        with self._uses._lock:
            self._uses._last_s[self.sprite] = self._uses._now_s()
            left = self._uses._open[self.sprite]
            left.remove(self)
            if not left:
                del self._uses._open[self.sprite]


class Uses:
    """Thread-safe; a Machine of the Machines API is counted as a sprite. `now_s`: a clock that only goes forward."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._open: dict[str, set[Use]] = {}
        self._last_s: dict[str, float] = {}

    def using(self, sprite: str, cut: Cut = lambda: None, *, outlives: bool = False) -> Use:
        """For as long as a connection lasts. `cut` breaks it off; it is called on any thread, and must not wait.
        `outlives`: it does not end by itself with its machine, and is cut when that has gone."""
        return Use(self, sprite, cut, outlives=outlives)

    def touch(self, sprite: str) -> None:
        """It was used just now."""
        with self._lock:
            self._last_s[sprite] = self._now_s()

    def open_connections(self, sprite: str) -> int:
        """As many as use it at the moment."""
        with self._lock:
            return len(self._open.get(sprite, ()))

    def idle_s(self, sprite: str) -> float:
        """Seconds since somebody used it; the first question starts the count."""
        now_s = self._now_s()
        with self._lock:
            if sprite in self._open:
                return 0.0
            return now_s - self._last_s.setdefault(sprite, now_s)

    def cut(self, sprite: str) -> None:
        """Break off every use that is open. They end a moment later."""
        for use in self._every(sprite):
            use.cut()

    def gone(self, sprite: str) -> None:
        """Its machine has: break off what would outlive it. The others end by themselves, once all is said."""
        for use in self._every(sprite):
            if use.outlives:
                use.cut()

    def _every(self, sprite: str) -> list[Use]:
        with self._lock:
            return list(self._open.get(sprite, ()))

    def forget(self, sprite: str) -> None:
        """It was destroyed, with all its parts (`<id>/<part>`)."""
        with self._lock:
            for name in [name for name in self._last_s if name.partition("/")[0] == sprite]:
                del self._last_s[name]
