"""Whether checks of a Machine's service pass, as its agent says: believed for a moment, and asked by one for all."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterable

from ...services.fly_processes import CHECKS_S, FlyProcesses
from ...services.fly_ways import Backend
from ...store.fly import Machine

BELIEVED_S = 1.0
# For so long what was known is told once more, while it is found out anew.
STALE_S = 10.0
MOST_KNOWN = 8192


@dataclasses.dataclass(frozen=True)
class _Known:
    passing: frozenset[str]
    at_s: float


class Health:
    """For one event loop."""

    def __init__(self, processes: FlyProcesses, clock: Callable[[], float] = time.monotonic) -> None:
        self._processes = processes
        self._clock = clock
        self._known: dict[tuple[str, int], _Known] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[_Known]] = {}

    async def unhealthy(self, backends: Iterable[Backend]) -> frozenset[str]:
        """The Machines that run, and of which a check of that service does not pass."""
        asked = [each for each in backends if each.service.checks and each.row.state == "started"]
        if not asked:
            return frozenset()
        known = await asyncio.gather(*(self._of(each.row) for each in asked))
        failing = zip(asked, known, strict=True)
        return frozenset(each.id for each, found in failing if not found.passing.issuperset(each.service.checks))

    async def _of(self, row: Machine) -> _Known:
        key = row.id, row.updated_us  # one that has been started anew is another one
        known = self._known.get(key)
        age_s = STALE_S if known is None else self._clock() - known.at_s
        if known is not None and age_s < BELIEVED_S:
            return known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, row), name=f"health of {row.id}")
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return known if known is not None and age_s < STALE_S else await asyncio.shield(task)

    async def _ask(self, key: tuple[str, int], row: Machine) -> _Known:
        found = await self._processes.checks(row, time.monotonic() + CHECKS_S)
        known = _Known(frozenset(each.name for each in found if each.status == "passing"), self._clock())
        self._known.pop(key, None)
        while len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[key] = known
        return known
