"""Processes by pidfd, and by pid and start time where they must be written down."""

from __future__ import annotations

from . import syscalls
from .launcher import read_start_time as start_time

__all__ = ["pidfd_getfd", "start_time"]


def pidfd_getfd(pid_fd: int, number: int) -> int:
    """A duplicate of descriptor `number` of another process, close-on-exec; the caller owns it.

    OSError: EPERM without the right to trace it, EBADF when it has no such descriptor, ESRCH when it has ended.
    """
    return syscalls.call(syscalls.PIDFD_GETFD, pid_fd, number, 0, what=f"take descriptor {number} of a process")
