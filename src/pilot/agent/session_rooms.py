"""How many sessions there may be: of users, and of operators beside the agent, each with room of its own.

Whatever users have begun keeps no operator out, and operators' shells take nothing from users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..wire import faults
from .containers import naming

MOST, MOST_BESIDE = 256, 16


class SessionRooms:
    """Counts those that are being started; those that run are known to who asks."""

    def __init__(self) -> None:
        self._starting: Counter[bool] = Counter()  # whether beside the agent

    def enter(self, container: str, running: Iterable[str]) -> None:
        """One will be started in `container`, and then `leave`; `running`: where there are sessions. `Exhausted`."""
        is_beside = naming.is_beside(container)
        most = MOST_BESIDE if is_beside else MOST
        count = sum(naming.is_beside(each) is is_beside for each in running)
        if count + self._starting[is_beside] >= most:
            raise faults.Exhausted(f"start a session: {most} are running already")
        self._starting[is_beside] += 1

    def leave(self, container: str) -> None:
        """It runs, or could not be started."""
        self._starting[naming.is_beside(container)] -= 1
