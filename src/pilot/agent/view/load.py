"""How busy the world has been: three averages over what its processors did, made anew when somebody looks.

The kernel counts who waits for a processor each five seconds; nobody counts so for a cgroup, and to wake for it each
five seconds would make idle worlds cost. So it is the processors that were kept busy, which is less where many wait.
"""

from __future__ import annotations

import math

PERIODS_S = (60.0, 300.0, 900.0)


class Load:
    """Between two looks the world is taken to have been evenly busy; before the first, since it began."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._up_s = self._used_s = 0.0
        self._averages = [0.0 for _ in PERIODS_S]

    def look(self, up_s: float, used_s: float) -> tuple[float, ...]:
        """The averages now that it has run for `up_s` and used so much time of processors."""
        if up_s < self._up_s:
            self._begin()  # another world
        passed_s = up_s - self._up_s
        if passed_s > 0:
            busy = max(0.0, used_s - self._used_s) / passed_s
            kept = [math.exp(-passed_s / period_s) for period_s in PERIODS_S]
            self._averages = [
                average * keep + busy * (1 - keep) for average, keep in zip(self._averages, kept, strict=True)
            ]
            self._up_s, self._used_s = up_s, used_s
        return tuple(self._averages)
