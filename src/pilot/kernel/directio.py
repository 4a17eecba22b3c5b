"""File operations that the standard library lacks and direct I/O needs: punching holes, syncfs, where memory lies.

Functions raise `OSError` with errno. Nothing here decides or remembers.
"""

from __future__ import annotations

import ctypes

from . import syscalls

_KEEP_SIZE, _PUNCH_HOLE = 0x1, 0x2


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Free the range of the file; it reads as zeros. The size stays."""
    result = syscalls.libc.fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_longlong(offset), ctypes.c_longlong(length))
    syscalls.checked(result, f"punch hole of {length} bytes at {offset}")


def sync_filesystem(fd: int) -> None:
    """syncfs(2) of the filesystem that `fd` is on."""
    syscalls.checked(syscalls.libc.syncfs(fd), "syncfs")


def address_of(view: memoryview) -> int:
    """Where a writable buffer lies in memory; what direct I/O wants aligned."""
    return ctypes.addressof(ctypes.c_char.from_buffer(view)) if len(view) else 0
