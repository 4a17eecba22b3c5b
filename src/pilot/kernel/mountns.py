"""The mounts of another process, its mount namespace and its root directory in there, joined by this one for good.

    with mountns.opened(pid) as (namespace_fd, root_fd): …      which stay that process's, whatever becomes of its pid
    mountns.join(namespace_fd, root_fd)                         CAP_SYS_ADMIN and CAP_SYS_CHROOT; single-threaded

Root and working directory are the other's root then. Descriptors that were opened before lead where they led.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from . import syscalls

_CLONE_NEWNS = 0x20000


@contextmanager
def opened(pid: int) -> Iterator[tuple[int, int]]:
    """Namespace and root directory of a process, for as long as the block; OSError."""
    namespace_fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield namespace_fd, root_fd
        finally:
            os.close(root_fd)
    finally:
        os.close(namespace_fd)


def join(namespace_fd: int, root_fd: int) -> None:
    """OSError: nothing is changed, or we are in the namespace and not at the root."""
    syscalls.checked(syscalls.libc.setns(namespace_fd, _CLONE_NEWNS), "join a mount namespace")
    os.fchdir(root_fd)
    os.chroot(".")
