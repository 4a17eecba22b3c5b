"""Who is told when a process ends: its parent, or whoever the parent's init tells.

The launcher asks the waiter how to clone (`clone_flags`), so that the process becomes the child of the one that will
wait for it. Nothing else in the package waits for processes.

`OwnChildren`   the process is our child; waitid(P_PIDFD). Of one that is not ours the pid_fd says *when* it ended and
                nothing says how.
`InitRecords`   the process is a sibling of ours, a child of init (native/init), which reaps it and sends a record.
"""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import threading
import time
from collections.abc import Iterable
from typing import Protocol

CLONE_PARENT = 0x00008000


@dataclasses.dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: an exit code, or a signal. Both are None when nobody could tell."""

    code: int | None
    signal: int | None = None
    core_dumped: bool = False

    def exit_code(self) -> int:
        """The number a shell would give: the code, or 128 + signal; 255 when unknown."""
        if self.code is not None:
            return self.code
        return 255 if self.signal is None else 128 + self.signal


def parse_wait_status(status: int) -> ExitStatus:
    """A raw wait(2) status → ExitStatus."""
    if os.WIFEXITED(status):
        return ExitStatus(os.WEXITSTATUS(status))
    return ExitStatus(None, os.WTERMSIG(status), os.WCOREDUMP(status))


class Process(Protocol):
    """What a waiter needs to know of a process."""

    @property
    def pid(self) -> int: ...
    @property
    def start_time(self) -> int: ...
    @property
    def pid_fd(self) -> int: ...


class Waiter(Protocol):
    """Knows how processes have to be cloned to be waited for, and waits."""

    def clone_flags(self) -> tuple[int, int]:
        """Flags to add to clone3(2), and the exit signal."""

    def wait(self, process: Process, timeout_s: float | None) -> ExitStatus:
        """How `process` ended; TimeoutError when it did not within `timeout_s`. Reaps it when it is our child."""

    def forget(self, pid: int) -> None:
        """Nobody will wait for this pid (an intermediate process that ended); reaps it when it is our child."""


class OwnChildren:
    """Processes are children of this one."""

    def clone_flags(self) -> tuple[int, int]:
        return 0, signal.SIGCHLD

    def wait(self, process: Process, timeout_s: float | None) -> ExitStatus:
        _poll(process.pid_fd, timeout_s)
        try:
            result = os.waitid(os.P_PIDFD, process.pid_fd, os.WEXITED)
        except ChildProcessError:
            return ExitStatus(None)  # not our child, or reaped by somebody else: only the time is known
        assert result is not None
        if result.si_code == os.CLD_EXITED:
            return ExitStatus(result.si_status)
        return ExitStatus(None, result.si_status, result.si_code == os.CLD_DUMPED)

    def forget(self, pid: int) -> None:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # somebody else's wait took it: that is all that was wanted


class ExitRecord(Protocol):
    """One packet EXIT of init (`kernel.initlink`)."""

    @property
    def seq(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def start_time(self) -> int: ...
    @property
    def status(self) -> int: ...


class RecordSource(Protocol):
    """The part of `kernel.initlink.InitLink` that a waiter uses."""

    def fileno(self) -> int: ...
    def read_records(self) -> Iterable[ExitRecord]: ...
    def acknowledge(self, seq: int) -> None: ...


class InitRecords:
    """Processes are children of init, which sends a record for each that ended.

    Any number of threads may wait; whichever holds the lock reads for all. A record is acknowledged when it is claimed;
    those that nobody claims stay here and in init, and init drops them in the end.
    """

    def __init__(self, link: RecordSource) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._records: dict[tuple[int, int], ExitRecord] = {}
        self._forgotten: set[int] = set()

    def clone_flags(self) -> tuple[int, int]:
        return CLONE_PARENT, 0  # the child inherits our own exit signal, SIGCHLD; clone3 refuses another

    def wait(self, process: Process, timeout_s: float | None) -> ExitStatus:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        _poll(process.pid_fd, timeout_s)
        key = (process.pid, process.start_time)
        while (record := self._claim(key)) is None:
            _poll(self._link.fileno(), None if deadline is None else max(0, deadline - time.monotonic()), wake_s=0.05)
            if deadline is not None and time.monotonic() >= deadline and self._claim(key) is None:
                raise TimeoutError(f"no exit record for process {process.pid}")
        return parse_wait_status(record.status)

    def forget(self, pid: int) -> None:
        with self._lock:
            self._forgotten.add(pid)
            self._read()

    def collect(self) -> None:
        """Take in what init has sent; for an event loop that watches the link's descriptor."""
        with self._lock:
            self._read()

    def _claim(self, key: tuple[int, int]) -> ExitRecord | None:
        with self._lock:
            self._read()
            record = self._records.pop(key, None)
            if record is not None:
                self._link.acknowledge(record.seq)
            return record

    def _read(self) -> None:
        for record in self._link.read_records():
            if record.pid in self._forgotten:
                self._forgotten.discard(record.pid)
                self._link.acknowledge(record.seq)
            else:
                self._records[record.pid, record.start_time] = record


def _poll(fd: int, timeout_s: float | None, *, wake_s: float | None = None) -> None:
    """Wait until `fd` is readable; TimeoutError. With `wake_s` return after that time in any case."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    limit = timeout_s if wake_s is None else wake_s if timeout_s is None else min(wake_s, timeout_s)
    if not poll.poll(None if limit is None else limit * 1000) and wake_s is None:
        raise TimeoutError("the process has not ended")
