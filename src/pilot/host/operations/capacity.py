"""How many machines go on at once: no more than the host has process numbers for, if each took all that it may.

The kernel counts process numbers once for the whole host. That a machine takes all of its own is one thing; that for it
a neighbour, or the host, gets none is another. What a start would exceed is refused before anything is done.
"""

from __future__ import annotations

import contextlib
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping

from ...ids import MachineId
from ..fsm.outcome import UserFault

HOST_SHARE = 8192
PID_MAX = pathlib.Path("/proc/sys/kernel/pid_max")


def host_room() -> int:
    """For all machines together."""
    return int(PID_MAX.read_text()) - HOST_SHARE


class Capacity:
    """Safe to use from any thread. `room()` is asked at each start."""

    def __init__(self, room: Callable[[], int] = host_room) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._starting: dict[MachineId, int] = {}
        self._running: Mapping[MachineId, int] | None = None

    @contextlib.contextmanager
    def admitted(
        self, machine: MachineId, processes: int, running: Callable[[], Mapping[MachineId, int]]
    ) -> Iterator[None]:
        """While it starts it counts as one that runs. `UserFault` (exhausted) when there is no room for it.

        `running()` asks the kernel which machines run, and what each may take: at first, and before a refusal.
        """
        with self._lock:
            if self._running is None or self._left(machine) < processes:
                self._running = running()
            if (left := self._left(machine)) < processes:
                raise UserFault(
                    f"machine {machine}: it may take {processes} process numbers, {max(left, 0)} are left",
                    code="exhausted",
                    hint="stop what is not needed, or raise kernel.pid_max",
                )
            self._starting[machine] = processes
        try:
            yield
        finally:
            with self._lock:
                del self._starting[machine]
                self._running = {**(self._running or {}), machine: processes}

    def _left(self, machine: MachineId) -> int:
        taken = {**(self._running or {}), **self._starting}
        taken.pop(machine, None)
        return self._room() - sum(taken.values())
