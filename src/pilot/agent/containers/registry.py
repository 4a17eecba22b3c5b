"""The containers that run. Whoever makes one puts it here, and is told when its first process has ended.

add ─► process written down in init's store ─► watched ─► ended: exit written down (`exits`) ─► owner told
remove: not watched any more, before it is ended on purpose
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

import msgspec

from ... import errors
from ...kernel import process as kernel_process
from .. import document
from ..machine import Inner, Machine
from ..readiness import readable
from ..session import Known, exit_status
from . import naming
from .exits import Exits

_KIND = "process"
OnEnd = Callable[[int], None]
_log = logging.getLogger(__name__)


class _Process(msgspec.Struct, frozen=True):
    pid: int
    start_time: int


class _Running:
    def __init__(self, container: Inner, watch: asyncio.Task[None]) -> None:
        self.container = container
        self.watch = watch


class Registry:
    """One per machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._running: dict[str, _Running] = {}
        self.exits = Exits(machine.link)

    def restore(self) -> None:
        """How containers ended that did so while no agent ran; those that run are added by their owners."""
        self.exits.restore()

    def find(self, name: str) -> Inner:
        """One that runs; `NotFound`."""
        running = self._running.get(name)
        if running is None:
            raise errors.NotFound(f"no container runs that is called {name!r}")
        return running.container

    def names(self) -> list[str]:
        """All of which there is something to tell."""
        return sorted({*self._running, *self.exits.names()})

    def add(self, name: str, container: Inner, on_end: OnEnd) -> None:
        """It runs. `on_end(exit_code)` is called once, on the loop, unless it is removed first."""
        pid = container.pid
        known = _Process(pid, kernel_process.start_time(pid))
        document.write(self._machine.link, naming.store_name(name, _KIND), known)
        watch = asyncio.create_task(self._watch(name, known, on_end), name=f"watch container {name}")
        self._running[name] = _Running(container, watch)

    async def missed(self, name: str) -> None:
        """Note the end of a container that was there when the former agent died, and is not any more."""
        full_name = naming.store_name(name, _KIND)
        if full_name not in self._machine.link.inherited:
            return
        try:
            fd = self._machine.link.take(full_name)
            known = document.read(fd, _Process)
            os.close(fd)
            await self._note(name, Known(known.pid, known.start_time, -1))
        except (errors.PilotError, OSError) as error:
            # Its owner knows that it has ended; what is lost is with which code.
            _log.error("container %s: how it ended cannot be told: %s", name, error)

    def remove(self, name: str) -> None:
        """It is about to be ended on purpose; nothing when it is not there."""
        running = self._running.pop(name, None)
        if running is not None:
            running.watch.cancel()
            self._machine.link.drop(naming.store_name(name, _KIND))

    def leave(self) -> None:
        """All go on under the next agent."""
        for running in self._running.values():
            running.watch.cancel()
        self._running.clear()

    async def _watch(self, name: str, process: _Process, on_end: OnEnd) -> None:
        try:
            pid_fd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            pid_fd = -1
        try:
            if pid_fd >= 0:
                await readable(pid_fd)
            exit_code = await self._note(name, Known(process.pid, process.start_time, pid_fd))
        finally:
            if pid_fd >= 0:
                os.close(pid_fd)
        self._running.pop(name, None)
        _log.error("container %s: its first process has ended with code %d", name, exit_code)
        on_end(exit_code)

    async def _note(self, name: str, known: Known) -> int:
        """First written down here, then forgotten by init."""
        status = await asyncio.to_thread(exit_status, self._machine.exits, known)
        self.exits.add(name, known.pid, known.start_time, status.exit_code(), time.time())
        await asyncio.to_thread(self._machine.exits.acknowledge, known)
        self._machine.link.drop(naming.store_name(name, _KIND))
        return status.exit_code()
