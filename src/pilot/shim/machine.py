"""The machine of a group: made with its first container, ended with its last. It is driven by its dial socket alone."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

from .. import errors
from ..bare import machines
from ..machine.pilot_api import PilotApi
from ..wire import graph, operations
from ..wire.operations import Answered, Asked, Operation
from .group import Group
from .wanted import Wanted

MEMORY_BYTES = 1 << 30
# So long nothing is under way with a container, whatever a machine says: it is not trusted.
MOST_S = 120.0
_SETTLED_S = 20
_PAUSE_S = 0.01
_PASSING = frozenset({"starting", "stopping", "removing"})


class Machine:
    """All of it blocks."""

    def __init__(self, group: Group) -> None:
        self._directory = group.machine
        self.dial_path = os.path.join(group.machine, "dial.sock")

    def start(self, memory_bytes: int) -> None:
        """It runs; idempotent."""
        machines.start(self._directory, {}, memory_bytes)

    def runs(self) -> bool:
        """Asked of the host, whatever it answers itself."""
        return machines.runs(self._directory)

    def stop(self) -> None:
        """Nothing is left of it; idempotent."""
        machines.stop(self._directory)

    def kill(self) -> None:
        """As `stop`, without asking it: a machine whose agent does not answer, or one that nobody needs any more."""
        machines.stop(self._directory, at_once=True)

    def call(
        self,
        operation: Operation[Asked, Answered],
        asked: Asked,
        query: Sequence[tuple[str, str]] = (),
        **parameters: str,
    ) -> Answered:
        """As `PilotApi.call`."""
        return PilotApi(self.dial_path).call(operation, asked, query=query, **parameters)

    def settled(self, name: str) -> graph.ContainerStatus:
        """A container, when nothing is under way with it. `PeerError` when that takes too long."""
        query, end_s = [("settled", str(_SETTLED_S))], time.monotonic() + MOST_S
        while (row := self.call(operations.GET_CONTAINER, None, query, name=name)).status in _PASSING:
            _check_time(end_s, name, row)
        return row

    def wait_over(self, name: str) -> None:
        """The agent is through with the end of a container that has ended: what it wrote is in its log.

        `PeerError` when that takes too long.
        """
        end_s = time.monotonic() + MOST_S
        while (row := self.settled(name)).status == "running":
            _check_time(end_s, name, row)
            time.sleep(_PAUSE_S)

    def give(self, wanted: Wanted) -> None:
        """What the container has of the host is in the machine."""
        for bind in wanted.disks:
            machines.add_root(self._directory, bind.disk, bind.source)

    def remove(self, wanted: Wanted) -> None:
        """A container has gone, with all that was there for it; idempotent."""
        self.call(operations.DELETE_CONTAINER, None, name=wanted.name)
        with contextlib.suppress(errors.NotFound):  # it has gone
            self.settled(wanted.name)
        for bind in wanted.disks:
            self.call(operations.UNMOUNT_DISK, None, name=bind.disk)

    def take_out(self, wanted: Wanted | None) -> None:
        """It has gone, if it was there."""
        if wanted is not None and self.runs():
            self.remove(wanted)


def _check_time(end_s: float, name: str, row: graph.ContainerStatus) -> None:
    if time.monotonic() > end_s:
        raise errors.PeerError(f"container {name}: the machine has said {row.status!r} for {MOST_S:g} s")
