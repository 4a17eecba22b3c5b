"""Addresses of AF_UNIX sockets by path, however long that is: sun_path has room for 107 bytes (unix(7))."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

_MOST = 107


@contextlib.contextmanager
def short(path: str) -> Iterator[str]:
    """What to connect to, or to bind, for `path`: of a long one the directory is named by a descriptor of ours.

    OSError: ENAMETOOLONG of a name that is too long even so (Python's own error has no errno).
    """
    if len(os.fsencode(path)) <= _MOST:
        yield path
        return
    directory, name = os.path.split(path)
    directory_fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        address = f"/proc/self/fd/{directory_fd}/{name}"
        if len(os.fsencode(address)) > _MOST:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        yield address
    finally:
        os.close(directory_fd)
