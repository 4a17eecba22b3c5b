"""Processes that outlive us, found again by a file with pid and start time: together they name one process for ever."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Daemon:
    """A process by pid and start time (clock ticks since boot)."""

    pid: int
    start_time: int

    def alive(self) -> bool:
        """Whether it runs; a zombie does not."""
        return _start_time(self.pid) == self.start_time

    def end(self, signal_number: signal.Signals, timeout_s: float) -> bool:
        """Send the signal and wait; whether it is gone. Never another process of the same pid."""
        with self._pid_fd() as pid_fd:
            if pid_fd is None:
                return True
            signal.pidfd_send_signal(pid_fd, signal_number)
            return bool(_wait_readable(pid_fd, timeout_s))

    def wait(self, timeout_s: float) -> bool:
        """Whether it is gone within the time."""
        with self._pid_fd() as pid_fd:
            return pid_fd is None or _wait_readable(pid_fd, timeout_s)

    @contextlib.contextmanager
    def _pid_fd(self) -> Iterator[int | None]:
        try:
            pid_fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            # Asked after the descriptor is open: from here on the pid cannot be somebody else's unnoticed.
            yield pid_fd if self.alive() else None
        finally:
            os.close(pid_fd)


def of_pid(pid: int) -> Daemon | None:
    """The process that has this pid now."""
    start_time = _start_time(pid)
    return None if start_time is None else Daemon(pid, start_time)


def write(path: str, daemon: Daemon) -> None:
    """Remember it, by rename."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="ascii") as file:
        file.write(f"{daemon.pid} {daemon.start_time}\n")
    os.rename(temporary, path)


def read(path: str) -> Daemon | None:
    """The process that the file names, when it still runs."""
    try:
        with open(path, encoding="ascii") as file:
            pid, start_time = map(int, file.read().split())
    except (FileNotFoundError, ValueError):
        # Absent, or cut short by a crash of the writer: it names nobody.
        return None
    daemon = Daemon(pid, start_time)
    return daemon if daemon.alive() else None


def _wait_readable(pid_fd: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(pid_fd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process, or only its zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])
