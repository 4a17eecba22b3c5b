"""The time for what deletes by age, which no clock alone may tell: one that is set a year ahead would end everything.

    believed = the wall clock, but never faster than PACE times what has really passed since the last look

What has passed is what this process has seen pass (CLOCK_BOOTTIME); where that was written down last, it goes on from.
So a clock that is wrong for an hour makes nothing older than by PACE hours, and what was missed while nobody looked, as
the host was off, is caught up with at that pace. A clock that is set back is believed at once: then nothing is older.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..store import clocks
from ..store.database import Database
from ..store.journal import now_us

log = logging.getLogger(__name__)

PACE = 2
# How far it may be behind the wall clock, and nobody is told.
BEHIND_US = 86400 * 1_000_000


def _boottime_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Believed:
    """By its name in the store. `first_us`: asked once, when nothing was ever written down: the newest thing that is
    known to have happened; None: nothing, so that the wall clock may be believed."""

    def __init__(
        self,
        database: Database,
        name: str,
        first_us: Callable[[], int | None],
        wall_us: Callable[[], int] = now_us,
        passed_us: Callable[[], int] = _boottime_us,
    ) -> None:
        self._database = database
        self._name = name
        self._first_us = first_us
        self._wall_us = wall_us
        self._passed_us = passed_us
        self._looked_us = passed_us()
        self._is_behind = False

    def now_us(self) -> int:
        """Written down before it is told."""
        wall_us, passed_us = self._wall_us(), self._passed_us()
        before_us = self._before_us()
        most_us = wall_us if before_us is None else before_us + PACE * (passed_us - self._looked_us)
        believed_us = min(wall_us, most_us)
        with self._database.transaction(durable=False) as tx:
            clocks.write(tx, self._name, believed_us)
        self._looked_us = passed_us
        self._tell(wall_us - believed_us)
        return believed_us

    def _tell(self, behind_us: int) -> None:
        """Once each time: a clock that was wrong, be it for a moment, may keep things for as long as it was behind."""
        was_behind, self._is_behind = self._is_behind, behind_us > BEHIND_US
        if self._is_behind and not was_behind:
            told = {"clock": self._name, "behind_days": behind_us // BEHIND_US}
            log.warning("the clock went ahead faster than time: what is deleted by its age waits", extra=told)

    def _before_us(self) -> int | None:
        known_us = clocks.find(self._database, self._name)
        return self._first_us() if known_us is None else known_us
