"""How many sprites of an organisation may run at once, where the operator has set a limit.

Those that run count, and those that are about to: what is begun for a sprite (a creation, a wake) holds its place until
it has ended, and then the sprite runs or does not. One that is frozen or stopped takes none; to wake it wants one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection

from ...wire import faults


class TooManyRun(faults.Exhausted):
    """`current` of an organisation's sprites run or are about to, of `limit`."""

    def __init__(self, limit: int, current: int) -> None:
        super().__init__(f"{current} sprites run, of {limit} that may at once", hint="let one sleep or stop it first")
        self.limit = limit
        self.current = current


class RunningLimit:
    """Safe to use from any thread. `limit` 0: as many as one likes."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._begun: dict[str, Counter[str]] = {}

    def take(
        self, organisation: str, wanted: Collection[str], running: Callable[[], Collection[str]]
    ) -> Callable[[], None]:
        """Places for these sprites, by name, until what is returned is called, once. `TooManyRun`: none is taken.

        `running()`: those of the organisation that run now.
        """
        if not self.limit:
            return _nothing
        with self._lock:
            begun = self._begun.setdefault(organisation, Counter())
            others = (set(running()) | set(begun)) - set(wanted)
            if len(others) + len(wanted) > self.limit:
                raise TooManyRun(self.limit, len(others))
            begun.update(wanted)
        return lambda: self._give_back(organisation, wanted)

    def _give_back(self, organisation: str, names: Collection[str]) -> None:
        with self._lock:
            left = self._begun[organisation] - Counter(names)
            if left:
                self._begun[organisation] = left
            else:
                del self._begun[organisation]


def _nothing() -> None:
    pass
