"""inotify(7): which paths changed. Watches are set on descriptors' /proc paths, so no name is resolved twice."""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from . import syscalls

_EVENT = struct.Struct("iIII")
READ_BYTES = 64 * 1024


class Mask(enum.IntFlag):
    """IN_* of <sys/inotify.h>."""

    ATTRIB = 0x4
    CLOSE_WRITE = 0x8
    MODIFY = 0x2
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    Q_OVERFLOW = 0x4000
    IGNORED = 0x8000
    ISDIR = 0x40000000
    EXCL_UNLINK = 0x04000000


class Event(NamedTuple):
    """`name` is the entry in a watched directory, empty for the watched thing itself."""

    watch: int
    mask: Mask
    name: str


def create() -> int:
    """A non-blocking inotify descriptor; the caller owns it."""
    return syscalls.checked(syscalls.libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")


def add_watch_at(inotify_fd: int, path: str, mask: Mask) -> int:
    """Watch what is at the path, whose last link is followed; the watch's number."""
    return syscalls.checked(syscalls.libc.inotify_add_watch(inotify_fd, path.encode(), int(mask)), "watch", path)


def parse_events(data: bytes) -> Iterator[Event]:
    """What one read returned."""
    offset = 0
    while offset < len(data):
        watch, mask, _cookie, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size
        name = data[offset : offset + length].rstrip(b"\0")
        offset += length
        yield Event(watch, Mask(mask), os.fsdecode(name))
