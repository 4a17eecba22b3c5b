"""Space that is kept for what makes space: the books of a destroy on a disk that has none left.

    <state-dir>/reserve     1 MiB, allocated, content without meaning; gone while it is spent

It is given back to the file system when a transaction that must not fail finds the disk full, and taken again when
there is room. Somebody else on the same file system may take it meanwhile: success is likely with it, not certain.
"""

from __future__ import annotations

import contextlib
import os

SIZE = 1 << 20


class Reserve:
    """The file at `path`. Its calls are to be made one at a time."""

    def __init__(self, path: str) -> None:
        self._path = path

    def take(self) -> bool:
        """Whether it is there now; without room it is left for another time, and nothing is kept half."""
        if self._is_whole():
            return True
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, SIZE)
            finally:
                os.close(fd)
        except OSError:  # no space, or nothing can be written at all: which is told by whoever has something to write
            self.release()
            return False
        return True

    def release(self) -> bool:
        """Give it back. Whether there was something to give."""
        was_there = self._is_whole()
        with contextlib.suppress(OSError):  # not there, or not to be had: the caller's second attempt says so
            os.unlink(self._path)
        return was_there

    def _is_whole(self) -> bool:
        try:
            return os.stat(self._path).st_blocks * 512 >= SIZE
        except FileNotFoundError:
            return False
