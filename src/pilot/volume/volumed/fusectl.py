"""The kernel's own handle on FUSE connections: /sys/fs/fuse/connections/N, mounted where it is not.

Where the host has not mounted fusectl, it is mounted detached, for our eyes only.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading

from ...kernel import mounts, syscalls

_PATH = "/sys/fs/fuse/connections"
_AT_STATX_DONT_SYNC = 0x4000
_STATX_BYTES, _STATX_DEV_MINOR = 256, 140
_lock = threading.Lock()
_directory_fd = -1


def _directory() -> int:
    """A descriptor of the fusectl root; made once and kept."""
    global _directory_fd
    with _lock:
        if _directory_fd < 0:
            # A detached mount of it exists once per kernel and shows the same connections as /sys does.
            _directory_fd = mounts.mount_detached("fusectl", {"source": "fusectl"})
        return _directory_fd


def number_of(mount_fd: int) -> int:
    """The connection of a FUSE mount, without asking whoever serves it, as stat would: nobody may answer."""
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    flags = syscalls.AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    syscalls.checked(syscalls.libc.statx(mount_fd, b"", flags, 0, buffer), "statx")
    (minor,) = struct.unpack_from("=I", buffer, _STATX_DEV_MINOR)
    return int(minor)


def waiting(connection: int) -> int:
    """Requests that nobody has answered yet; FileNotFoundError when the connection is gone."""
    return int(_read(f"{connection}/waiting"))


def abort(connection: int) -> None:
    """End the connection: every request, now waiting or later, fails. The only cure for a process stuck on it."""
    fd = os.open(f"{connection}/abort", os.O_WRONLY | os.O_CLOEXEC, dir_fd=_directory())
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)


def _read(name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=_directory())
    try:
        return os.read(fd, 64).decode()
    finally:
        os.close(fd)
