"""The hostname of a process's UTS namespace, set from outside of it."""

from __future__ import annotations

import os
import socket
import threading

from . import syscalls

_CLONE_NEWUTS = 0x04000000


def set_hostname_of(pid: int, hostname: str) -> None:
    """`OSError` with errno when there is no such process, or we may not.

    By a thread that joins the namespace and ends there: ours stay where they are (setns(2) of this kind is a thread's).
    """
    problems: list[OSError] = []

    def run() -> None:
        try:
            _join(pid)
            socket.sethostname(hostname)
        except OSError as error:
            problems.append(error)

    thread = threading.Thread(target=run, name="pilot-uts")
    thread.start()
    thread.join()
    if problems:
        raise problems[0]


def _join(pid: int) -> None:
    path = f"/proc/{pid}/ns/uts"
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.checked(syscalls.libc.setns(fd, _CLONE_NEWUTS), "setns", path)
    finally:
        os.close(fd)
