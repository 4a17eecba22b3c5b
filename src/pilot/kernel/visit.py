"""A function that runs in a namespace of another process: in a thread of ours, which joins it and ends there.

setns(2) of these kinds is a thread's, so the rest of our process stays where it is.
"""

from __future__ import annotations

import enum
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from . import syscalls

_T = TypeVar("_T")


class Namespace(enum.Enum):
    """Kinds of namespace that a single thread may join, as /proc/<pid>/ns calls them."""

    NETWORK = "net"
    UTS = "uts"
    MOUNT = "mnt"


_FLAGS = {Namespace.NETWORK: 0x40000000, Namespace.UTS: 0x04000000, Namespace.MOUNT: 0x20000}  # CLONE_NEW*
_CLONE_FS = 0x200


def visit(pid: int, kind: Namespace, function: Callable[[], _T]) -> _T:
    """What `function` returns in the namespace of `pid`. `OSError` is the function's, or says that we cannot join."""
    return visit_path(f"/proc/{pid}/ns/{kind.value}", kind, function)


def visit_path(path: str, kind: Namespace, function: Callable[[], _T]) -> _T:
    """The same, of the namespace that `path` refers to: below /proc, or where one is mounted."""
    return in_thread(kind, lambda: _join(path, kind), function)


def visit_pidfd(pid_fd: int, kind: Namespace, function: Callable[[], _T]) -> _T:
    """The same, of the process that `pid_fd` is of (Linux 5.8): no other can be meant."""
    return in_thread(kind, lambda: _join_fd(pid_fd, kind, f"pidfd {pid_fd}"), function)


def in_thread(kind: Namespace, enter: Callable[[], None], function: Callable[[], _T]) -> _T:
    """What `function` returns after `enter`, in a thread that ends then. What either raises is raised here."""
    results: list[_T] = []
    problems: list[Exception] = []

    def run() -> None:
        try:
            enter()
            results.append(function())
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that asked
            problems.append(error)

    thread = threading.Thread(target=run, name=f"pilot-{kind.value}ns")
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return results[0]


def _join(path: str, kind: Namespace) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _join_fd(fd, kind, path)
    finally:
        os.close(fd)


def _join_fd(fd: int, kind: Namespace, what: str) -> None:
    if kind is Namespace.MOUNT:  # root and working directory come with it: they must be this thread's alone
        syscalls.checked(syscalls.libc.unshare(_CLONE_FS), "unshare", what)
    syscalls.checked(syscalls.libc.setns(fd, _FLAGS[kind]), "setns", what)
