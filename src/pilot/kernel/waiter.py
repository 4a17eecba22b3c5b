"""Who is told when a process ends: its parent, or whoever the parent's init tells.

The launcher asks the waiter how to clone (`clone_flags`), so that the process becomes the child of the one that will
wait for it. Nothing else in the package waits for processes.

`OwnChildren`   the process is our child; waitid(P_PIDFD). Of one that is not ours the pid_fd says *when* it ended and
                nothing says how.
`InitRecords`   the process is a sibling of ours, a child of init (native/init), which reaps it and sends a record.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

CLONE_PARENT = 0x00008000


class ExitStatus(msgspec.Struct, frozen=True):
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

    def start(self, program: bytes, descriptors: Sequence[int]) -> tuple[int, int, int]:
        """Clone a process that runs an encoded Program: its pid, its pidfd, and our end of the channel."""

    def wait(self, process: Process, timeout_s: float | None) -> ExitStatus:
        """How `process` ended; TimeoutError when it did not within `timeout_s`. Reaps it when it is our child."""

    def forget(self, pid: int) -> None:
        """Nobody will wait for this pid (an intermediate process that ended); reaps it when it is our child."""


class OwnChildren:
    """Processes are children of this one."""

    def clone_flags(self) -> tuple[int, int]:
        return 0, signal.SIGCHLD

    def start(self, program: bytes, descriptors: Sequence[int]) -> tuple[int, int, int]:
        return start_here(self, program, descriptors)

    def wait(self, process: Process, timeout_s: float | None) -> ExitStatus:
        _poll([process.pid_fd], timeout_s)
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

    Any number of threads may wait: one of them reads from init for all. `wait` acknowledges the record, so it is gone;
    who has to write the status down first uses `status`, then `acknowledge`. Records that nobody claims stay here (at
    most MAX_RECORDS) and in init, which drops them in the end.
    """

    MAX_RECORDS = 4096

    def __init__(self, link: RecordSource) -> None:
        import threading  # a command line has one thread, and loads it for nothing

        self._link = link
        self._changed = threading.Condition()
        self._woken_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # readable when somebody else read the link
        self._reading = False
        self._records: dict[tuple[int, int], ExitRecord] = {}
        self._forgotten: set[int] = set()

    def clone_flags(self) -> tuple[int, int]:
        return CLONE_PARENT, 0  # the child inherits our own exit signal, SIGCHLD; clone3 refuses another

    def start(self, program: bytes, descriptors: Sequence[int]) -> tuple[int, int, int]:
        return start_here(self, program, descriptors)

    def wait(self, process: Process, timeout_s: float | None) -> ExitStatus:
        status = self.status(process, timeout_s)
        self.acknowledge(process)
        return status

    def status(self, process: Process, timeout_s: float | None) -> ExitStatus:
        """As wait, but init keeps the record, over the death of this process too, until `acknowledge`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        _poll([process.pid_fd], timeout_s)
        with self._changed:
            self._read()
            while (record := self._find(process)) is None:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"no exit record for process {process.pid}")
                self._await_more(left)
        return parse_wait_status(record.status)

    def acknowledge(self, process: Process) -> None:
        """Let init forget how `process` ended; nothing when that is not known."""
        with self._changed:
            record = self._find(process)
            if record is not None:
                del self._records[record.pid, record.start_time]
                self._link.acknowledge(record.seq)

    def forget(self, pid: int) -> None:
        with self._changed:
            self._forgotten.add(pid)
            for record in [record for record in self._records.values() if record.pid == pid]:
                del self._records[record.pid, record.start_time]
                self._keep(record)
            self._read()

    def collect(self) -> None:
        """Take in what init has sent; for an event loop that watches the link's descriptor."""
        with self._changed:
            self._read()

    def close(self) -> None:
        """Nobody waits any more. The link is the caller's."""
        os.close(self._woken_fd)

    def _find(self, process: Process) -> ExitRecord | None:
        """Pid and start time are the name of a process; a start time of 0 was not to be found out."""
        exact = self._records.get((process.pid, process.start_time))
        if exact is not None:
            return exact
        same_pid = (record for record in self._records.values() if record.pid == process.pid)
        return next((record for record in same_pid if not (record.start_time and process.start_time)), None)

    def _await_more(self, timeout_s: float | None) -> None:
        """Wait, without the lock, until records may have come: read them, or be told by the thread that reads."""
        if self._reading:
            self._changed.wait(timeout_s)
            return
        self._reading = True
        self._changed.release()
        try:
            _poll([self._link.fileno(), self._woken_fd], timeout_s)
        except TimeoutError:
            pass  # the caller sees it by its deadline
        finally:
            self._changed.acquire()
            self._reading = False
            self._read()
            self._changed.notify_all()  # also if nothing came: another one has to read now

    def _read(self) -> None:
        for record in self._link.read_records():
            self._keep(record)
        while len(self._records) > self.MAX_RECORDS:
            del self._records[next(iter(self._records))]
        self._changed.notify_all()
        try:
            if self._reading:
                os.eventfd_write(self._woken_fd, 1)
            else:
                os.eventfd_read(self._woken_fd)
        except BlockingIOError:
            pass  # it is what it should be already

    def _keep(self, record: ExitRecord) -> None:
        if record.pid in self._forgotten:
            self._forgotten.discard(record.pid)
            self._link.acknowledge(record.seq)
        else:
            self._records[record.pid, record.start_time] = record


def start_here(waiter: Waiter, program: bytes, descriptors: Sequence[int]) -> tuple[int, int, int]:
    """Clone from this process."""
    from . import _launch  # who only waits needs no C

    return _launch.start(program, descriptors, *waiter.clone_flags())


def _poll(fds: Iterable[int], timeout_s: float | None) -> None:
    """Wait until one of `fds` is readable; TimeoutError."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    if not poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000):
        raise TimeoutError("the process has not ended")
