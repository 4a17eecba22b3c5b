"""Processes by pidfd, and by pid and start time where they must be written down."""

from __future__ import annotations

from . import syscalls

_SET_CHILD_SUBREAPER = 36


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            line = stat.read()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(line[line.rindex(b")") :].split()[20])


def pidfd_getfd(pid_fd: int, number: int) -> int:
    """A duplicate of descriptor `number` of another process, close-on-exec; the caller owns it.

    OSError: EPERM without the right to trace it, EBADF when it has no such descriptor, ESRCH when it has ended.
    """
    return syscalls.call(syscalls.PIDFD_GETFD, pid_fd, number, 0, what=f"take descriptor {number} of a process")


def become_subreaper() -> None:
    """Processes below us whose parent ends become our children (PR_SET_CHILD_SUBREAPER); OSError."""
    syscalls.checked(int(syscalls.libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)), "become a subreaper")
