"""Processes by pidfd, and by pid and start time where they must be written down."""

from __future__ import annotations

from . import syscalls

_SET_CHILD_SUBREAPER = 36
_PF_EXITING = 0x4  # include/linux/sched.h


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when there is no such process."""
    fields = _stat(pid)
    return int(fields[20]) if fields else 0


def is_exiting(pid: int) -> bool:
    """Whether the process is on its way out, or not there any more."""
    fields = _stat(pid)
    return not fields or bool(int(fields[7]) & _PF_EXITING)


def cpu_ticks(pid: int) -> int:
    """Time of the processor that it has used, in clock ticks; 0 when there is no such process."""
    fields = _stat(pid)
    return int(fields[12]) + int(fields[13]) if fields else 0


def _stat(pid: int) -> list[bytes]:
    """/proc/PID/stat from the end of the command's name, which may have spaces, on; empty when there is no process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            line = stat.read()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return line[line.rindex(b")") :].split()


def pidfd_getfd(pid_fd: int, number: int) -> int:
    """A duplicate of descriptor `number` of another process, close-on-exec; the caller owns it.

    OSError: EPERM without the right to trace it, EBADF when it has no such descriptor, ESRCH when it has ended.
    """
    return syscalls.call(syscalls.PIDFD_GETFD, pid_fd, number, 0, what=f"take descriptor {number} of a process")


def become_subreaper() -> None:
    """Processes below us whose parent ends become our children (PR_SET_CHILD_SUBREAPER); OSError."""
    syscalls.checked(int(syscalls.libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)), "become a subreaper")
