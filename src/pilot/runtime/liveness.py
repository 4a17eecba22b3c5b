"""Whether a process that was once started is still there: asked of the kernel, by pid *and* start time."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator

from ..kernel import process


@contextlib.contextmanager
def opened_process(pid: int, start_time: int) -> Iterator[int | None]:
    """A pidfd of that very process while it runs; None when it has ended (a zombie has), or never was."""
    try:
        pid_fd = os.pidfd_open(pid) if pid > 0 else -1
    except ProcessLookupError:
        pid_fd = -1
    if pid_fd < 0:
        yield None
        return
    try:
        # The pidfd is of whoever has the number now; the start time tells whether that is still the same.
        yield pid_fd if process.start_time(pid) == start_time and not has_ended(pid_fd, 0) else None
    finally:
        os.close(pid_fd)


def is_alive(pid: int, start_time: int) -> bool:
    """Whether that process runs."""
    with opened_process(pid, start_time) as pid_fd:
        return pid_fd is not None


def is_ending(pid: int, pid_fd: int) -> bool:
    """Whether the process behind a pidfd has ended, or is about to: pid 1 waits for all others of its namespace."""
    return has_ended(pid_fd, 0) or process.is_exiting(pid)


def has_ended(pid_fd: int, timeout_s: float) -> bool:
    """Wait for the process to end, at most `timeout_s`."""
    poll = select.poll()
    poll.register(pid_fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
