"""How many calls of each kind are served at once, so that none starves another.

every operation    at most MOST, watches fewer; beyond it 503 with Retry-After
a crowd            with CROWDED connections only what the host itself asks (`Permission.HOST`) is still done
the reserve        status, world and health answer in any case: a busy machine is never taken for a dead one
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from ..wire import faults, operations
from ..wire.operations import AnyOperation, Operation
from ..wire.permissions import Permission

CROWDED = 1024
MOST = 256
_OF_A_KIND = {
    operations.WATCH_FILES.id: 64,
    operations.WATCH_PORTS.id: 64,
    operations.PROXY.id: 512,
    operations.OPEN_SESSION.id: 512,
    operations.ATTACH_SESSION.id: 512,
    operations.EXECUTE.id: 512,
}


class Admission:
    """One per agent. `connections()` says how many there are now; `permit` refuses what the machine's policy denies."""

    def __init__(self, connections: Callable[[], int], permit: Callable[[AnyOperation], None]) -> None:
        self._connections = connections
        self._permit = permit
        self._running: Counter[str] = Counter()

    @contextlib.contextmanager
    def enter(self, operation: Operation[Any, Any]) -> Iterator[None]:
        """For the length of a call; `Unavailable` when there are too many."""
        self._permit(operation)
        if operation.permission is not Permission.HOST:
            self._check(operation)
        self._running[operation.id] += 1
        try:
            yield
        finally:
            self._running[operation.id] -= 1

    def _check(self, operation: Operation[Any, Any]) -> None:
        most = _OF_A_KIND.get(operation.id, MOST)
        if self._running[operation.id] >= most:
            raise faults.Unavailable(f"{operation.id}: {most} are running already")
        if self._connections() > CROWDED:
            raise faults.Unavailable(f"{operation.id}: more than {CROWDED} connections are open")
