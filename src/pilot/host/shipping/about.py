"""What a sprite's disk says about how it is used: its user's home, and its services. Read, never followed.

<volume>/rootfs/etc/passwd      the user that commands run as
<volume>/pilot/services.json    as the agent writes it (agent/services/book.py)
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

import msgspec

MOST_BYTES = 1 << 20
PERSON = "sprite"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR})


class About(msgspec.Struct, frozen=True):
    """`home`: "" for a world without that user, where root does it all; `services`: the document, "" for none."""

    home: str = ""
    services: str = ""


def read(volume_fd: int) -> About:
    """`OSError` for a disk that cannot be read."""
    return About(_home(_document(volume_fd, "rootfs/etc/passwd")), _document(volume_fd, "pilot/services.json"))


def _document(volume_fd: int, path: str) -> str:
    """A small file; "" where there is none, or something else: no part of the path is a link."""
    *directories, name = path.split("/")
    with contextlib.ExitStack() as stack:
        fd = volume_fd
        try:
            for directory in directories:
                fd = os.open(directory, DIRECTORY, dir_fd=fd)
                stack.callback(os.close, fd)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = stack.enter_context(os.fdopen(os.open(name, flags, dir_fd=fd), "rb"))
        except OSError as error:
            if error.errno in _NONE:
                return ""
            raise
        return file.read(MOST_BYTES).decode(errors="replace") if _is_file(file.fileno()) else ""


def _is_file(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _home(passwd: str) -> str:
    rows = (line.split(":") for line in passwd.splitlines())
    return next((row[5] or "/" for row in rows if len(row) >= 7 and row[0] == PERSON), "")
