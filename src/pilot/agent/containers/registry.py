"""The containers that run. Whoever makes one puts it here, and is told when its first process has ended.

add ─► process written down in init's store ─► watched ─► ended: exit written down (`exits`) ─► owner told
remove: not watched any more, before it is ended on purpose
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from ... import errors
from ...kernel import process as kernel_process
from .. import document
from ..events import Events
from ..machine import Inner, Machine, status_of
from ..output import Changed
from ..readiness import readable
from ..session import Known, exit_status, open_process
from . import naming
from .exits import Exits

_KIND = "process"
_RETRY_S = 1.0
OnEnd = Callable[[int], None]
_log = logging.getLogger(__name__)


class _Process(msgspec.Struct, frozen=True):
    pid: int
    start_time: int


class _Running:
    """`container` is None for a process in another one."""

    def __init__(self, container: Inner | None, process: _Process, watch: asyncio.Task[None]) -> None:
        self.container = container
        self.pid = process.pid
        self.start_time = process.start_time
        self.watch = watch


class Registry:
    """One per machine."""

    def __init__(self, machine: Machine, events: Events) -> None:
        self._machine = machine
        self._events = events
        self._running: dict[str, _Running] = {}
        self.exits = Exits(machine.link)
        self.changed = Changed()  # another one runs, or one less

    def restore(self) -> None:
        """How containers ended that did so while no agent ran; those that run are added by their owners."""
        self.exits.restore()

    def find(self, name: str) -> Inner:
        """One that runs; `NotFound`."""
        running = self._running.get(name)
        if running is None or running.container is None:
            raise errors.NotFound(f"no container runs that is called {name!r}")
        return running.container

    def pid(self, name: str) -> int | None:
        """Of the first process of one that runs, or of a process in another container."""
        running = self._running.get(name)
        return None if running is None else running.pid

    def status(self, name: str) -> Literal["running", "paused", "stopped"]:
        """What it does."""
        running = self._running.get(name)
        if running is None:
            return "stopped"
        paused = running.container is not None and status_of(running.container) == "paused"
        return "paused" if paused else "running"

    def is_within(self, name: str) -> bool:
        """Whether it runs as a process in another container."""
        running = self._running.get(name)
        return running is not None and running.container is None

    def signal(self, name: str, number: int) -> None:
        """To a process in another container; nothing when it has just ended."""
        running = self._running[name]
        pid_fd = open_process(running.pid, running.start_time)
        if pid_fd >= 0:
            try:
                signal.pidfd_send_signal(pid_fd, number)
            except ProcessLookupError:
                pass  # it has
            finally:
                os.close(pid_fd)

    def watches(self, name: str, pid: int) -> bool:
        """Whether somebody will be told of the end of this process."""
        return self.pid(name) == pid

    def names(self) -> list[str]:
        """All of which there is something to tell."""
        return sorted({*self._running, *self.exits.names()})

    def running(self) -> set[str]:
        """Containers (not processes in them) that run."""
        return {name for name, running in self._running.items() if running.container is not None}

    def add(self, name: str, container: Inner, on_end: OnEnd, start_time: int | None = None) -> None:
        """It runs. `on_end(exit_code)` is called once, on the loop, unless it is removed first.

        `start_time` is for who knows it: of a first process that has ended already nobody else does.
        """
        pid = container.pid
        known = _Process(pid, kernel_process.start_time(pid) if start_time is None else start_time)
        self._add(name, container, known, on_end)

    def add_process(self, name: str, pid: int, start_time: int, on_end: OnEnd) -> None:
        """As `add`, of a process that is in another container."""
        self._add(name, None, _Process(pid, start_time), on_end)

    def _add(self, name: str, container: Inner | None, known: _Process, on_end: OnEnd) -> None:
        self._events.add("container.started", name, pid=known.pid)
        document.write(self._machine.link, naming.store_name(name, _KIND), known)
        watch = asyncio.create_task(self._watch(name, known, on_end), name=f"watch container {name}")
        self._running[name] = _Running(container, known, watch)
        self.changed.notify()

    async def missed(self, name: str) -> None:
        """Note the end of a container that was there when the former agent died, and is not any more."""
        full_name = naming.store_name(name, _KIND)
        if full_name not in self._machine.link.inherited:
            return
        try:
            fd = self._machine.link.take(full_name)
            known = document.read(fd, _Process)
            os.close(fd)
            await self.ended(name, known.pid, known.start_time)
        except (errors.PilotError, OSError) as error:
            # Its owner knows that it has ended; what is lost is with which code.
            _log.error("container %s: how it ended cannot be told: %s", name, error)

    async def ended(self, name: str, pid: int, start_time: int) -> int:
        """The exit code of one that ended under a former agent, noted now if that agent did not get to it."""
        for known in self.exits.of(name):
            if (known.pid, known.start_time) == (pid, start_time):
                await asyncio.to_thread(self._machine.exits.acknowledge, Known(pid, start_time, -1))
                return known.exit_code
        self._events.add_start_of_ended(name, pid)
        return await self._note(name, Known(pid, start_time, -1))

    def remove(self, name: str) -> None:
        """It is about to be ended on purpose; nothing when it is not there."""
        running = self._running.pop(name, None)
        if running is not None:
            self._events.add("container.removed", name, pid=running.pid)
            running.watch.cancel()
            self._machine.link.drop(naming.store_name(name, _KIND))
            self.changed.notify()

    def leave(self) -> None:
        """All go on under the next agent."""
        for running in self._running.values():
            running.watch.cancel()
        self._running.clear()

    async def _watch(self, name: str, process: _Process, on_end: OnEnd) -> None:
        while (exit_code := await self._end_of(name, process)) is None:  # noqa: ASYNC110 - nobody tells when it passes
            await asyncio.sleep(_RETRY_S)
        self._running.pop(name, None)
        _log.info("container %s: its first process has ended with code %d", name, exit_code)
        on_end(exit_code)
        self.changed.notify()

    async def _end_of(self, name: str, process: _Process) -> int | None:
        """Its exit code, noted, when it has ended; None when that could not be found out now.

        Init that does not answer or a lack of descriptors passes, and nobody else would tell.
        """
        pid_fd = -1
        try:
            pid_fd = open_process(process.pid, process.start_time)
            if pid_fd >= 0:
                await readable(pid_fd)
            return await self._note(name, Known(process.pid, process.start_time, pid_fd))
        except (errors.PilotError, OSError):
            _log.exception("container %s: watching it", name)
            return None
        finally:
            if pid_fd >= 0:
                os.close(pid_fd)

    async def _note(self, name: str, known: Known) -> int:
        """First written down here, then forgotten by init."""
        status = await asyncio.to_thread(exit_status, self._machine.exits, known)
        seq = self.exits.next_seq(name, known.pid, known.start_time)
        told = {"exit_code": status.exit_code(), "signal": status.signal, "exit": seq}
        self._events.add("container.ended", name, pid=known.pid, **told)
        self.exits.add(name, known, status, time.time())
        await asyncio.to_thread(self._machine.exits.acknowledge, known)
        self._machine.link.drop(naming.store_name(name, _KIND))
        return status.exit_code()
