"""Files of a container's root, opened from outside without ever being led out of it.

A rootfs belongs to whoever wrote it: its links may point anywhere. All is resolved as if the given directory were `/`
(openat2(2) RESOLVE_IN_ROOT, Linux 5.6).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from . import syscalls

_OPENAT2 = 437
_RESOLVE_IN_ROOT = 0x10
_RACES = 32
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS = 0x01, 0x02
_RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x04, 0x08


def open_in_root(root_fd: int, path: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """A descriptor of `path` below `root_fd`, the caller's to close; close-on-exec. `OSError`."""
    return _open_retrying(root_fd, path, flags, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)


def open_directory_as_named(root_fd: int, path: str) -> int:
    """A descriptor of the directory that `path` below `root_fd` names, without following a link in any of its parts."""
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS
    return _open_retrying(root_fd, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, 0, resolve)


def _open_retrying(root_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    how = struct.pack("<QQQ", flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path.lstrip("/") or ".")
    for _ in range(_RACES):
        try:
            return _open(root_fd, name, how, path)
        except BlockingIOError:
            # EAGAIN: a rename raced with a ".." of the path, so the kernel cannot vouch for where it led.
            continue
    return _open(root_fd, name, how, path)


def _open(root_fd: int, name: bytes, how: bytes, path: str) -> int:
    return syscalls.call(_OPENAT2, root_fd, name, ctypes.c_char_p(how), len(how), what="open in root", path=path)


def read_in_root(root_fd: int, path: str, limit_bytes: int = 1 << 20) -> bytes | None:
    """The first `limit_bytes` of a regular file; None when there is none that can be read.

    Nothing else is opened: to open a FIFO waits, and to open the node of a device does things to the host's device.
    """
    try:
        place_fd = open_in_root(root_fd, path, os.O_PATH)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(place_fd).st_mode):
            return None
        with open(f"/proc/self/fd/{place_fd}", "rb") as file:
            return file.read(limit_bytes)
    except OSError:
        return None
    finally:
        os.close(place_fd)


def is_other_mount(root_fd: int, path: str) -> bool:
    """Whether `path` leads onto another mount than the one that `root_fd` is in."""
    resolve = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_XDEV
    try:
        os.close(_open_retrying(root_fd, path, os.O_PATH, 0, resolve))
    except OSError as error:
        return error.errno == errno.EXDEV
    return False


def mode_in_root(root_fd: int, path: str) -> int | None:
    """Permission bits of what is at `path`; None when there is nothing."""
    try:
        fd = open_in_root(root_fd, path, os.O_PATH)
    except OSError:
        return None
    try:
        return os.fstat(fd).st_mode & 0o7777
    finally:
        os.close(fd)
