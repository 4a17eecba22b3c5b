"""Lines of JSON that others write, read as they come: a file that has become long is renamed to `<path>.1`, and another
one takes its place (network/lines.py)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

MOST_AT_ONCE = 1 << 20
T = TypeVar("T", bound=msgspec.Struct)
log = logging.getLogger(__name__)


class Tail(Generic[T]):
    """Of one path and one thread. `from_end`: what is there already is not told."""

    def __init__(self, path: str, kind: type[T], *, from_end: bool) -> None:
        self._path = path
        self._kind = kind
        self._inode, self._offset = _end(path) if from_end else (0, 0)

    def come(self) -> Iterator[T]:
        """What has come since the last time: of the file of before what was left of it, then of the present one."""
        if self._inode and _end(self._path)[0] != self._inode:
            yield from self._read(f"{self._path}.1")
            self._inode, self._offset = 0, 0
        yield from self._read(self._path)

    def _read(self, path: str) -> Iterator[T]:
        try:
            with open(path, "rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if self._inode not in (0, inode):
                    return
                self._inode = inode
                data = os.pread(file.fileno(), MOST_AT_ONCE, self._offset)
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                yield msgspec.json.decode(line, type=self._kind)
            except msgspec.DecodeError:
                log.warning("audit: a line cannot be read", extra={"path": path})


def _end(path: str) -> tuple[int, int]:
    """Which file is there, and how long it is; 0 and 0 for none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size
