"""Who uses which sprite, and the watch that stops those that nobody has used for long enough.

A connection that is open (an exec, a proxy, a relayed call) holds its sprite awake; a detached session does not.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator

from ... import errors
from ..store.sprites import Sprite
from .sprites import Sprites

log = logging.getLogger(__name__)

WATCH_PERIOD_S = 1.0


class Activity:
    """Open connections per sprite, and when the last one was there. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._last: dict[str, float] = {}

    @contextlib.contextmanager
    def using(self, sprite: str) -> Iterator[None]:
        """For as long as a connection lasts."""
        with self._lock:
            self._open[sprite] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[sprite] -= 1
                self._last[sprite] = time.monotonic()
                if not self._open[sprite]:
                    del self._open[sprite]

    def open_connections(self, sprite: str) -> int:
        """As many as use it at the moment."""
        with self._lock:
            return self._open[sprite]

    def idle_s(self, sprite: str, now: float) -> float:
        """Seconds since somebody used it; the first question starts the count."""
        with self._lock:
            if self._open[sprite]:
                return 0.0
            return now - self._last.setdefault(sprite, now)


def due(rows: list[Sprite], statuses: list[str], activity: Activity, limit_s: float, now: float) -> list[Sprite]:
    """The sprites to stop."""
    running = (row for row, status in zip(rows, statuses, strict=True) if status == "running" and row.phase == "live")
    return [row for row in running if activity.idle_s(row.id, now) >= limit_s]


@contextlib.contextmanager
def watching(sprites: Sprites, activity: Activity, limit_s: float) -> Iterator[None]:
    """Stop idle sprites for as long as the block lasts; a limit of 0 stops none."""
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(sprites, activity, limit_s, ended), name="idle-watch", daemon=True)
    if limit_s:
        watcher.start()
    try:
        yield
    finally:
        ended.set()
        if limit_s:
            watcher.join()


def _watch(sprites: Sprites, activity: Activity, limit_s: float, ended: threading.Event) -> None:
    while not ended.wait(min(WATCH_PERIOD_S, limit_s / 2)):
        try:
            rows = sprites.every()
            for row in due(rows, [sprites.status(row) for row in rows], activity, limit_s, time.monotonic()):
                log.info("stopping idle sprite", extra={"sprite": row.name})
                sprites.stop(row)
        except (errors.PilotError, OSError) as error:
            log.warning("idle watch", extra={"error": str(error)})
