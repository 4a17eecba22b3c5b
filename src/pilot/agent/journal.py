"""Lines that outlive the agent: a memfd in init's store that is only ever appended to, or exchanged as a whole.

A line that the agent died in the middle of is cut off by the next one. Exchanging is one step of init's: a reader finds
the old lines or the new ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from .machine import Link


class Journal:
    """Of one name in the store. Owns the memfd from `restore` to `close`."""

    def __init__(self, link: Link, store_name: str) -> None:
        self._link = link
        self._name = store_name
        self._fd = -1

    def restore(self) -> list[bytes]:
        """What former agents have written."""
        if self._name not in self._link.inherited:
            self._fd = self._new_memfd(b"")
            return []
        self._fd = self._link.take(self._name)
        data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(self._fd, len(whole))
        return whole.splitlines()

    def append(self, line: bytes) -> None:
        """`line` has no end of line in it."""
        data, position = line + b"\n", os.fstat(self._fd).st_size
        while data:
            written = os.pwrite(self._fd, data, position)
            data, position = data[written:], position + written

    def replace(self, lines: Iterable[bytes]) -> None:
        """These, in place of all that is there."""
        fd = self._new_memfd(b"".join(line + b"\n" for line in lines))
        os.close(self._fd)
        self._fd = fd

    def close(self) -> None:
        """Leave it to the next agent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _new_memfd(self, data: bytes) -> int:
        fd = os.memfd_create("pilot-journal", os.MFD_CLOEXEC)
        while data:
            data = data[os.write(fd, data) :]
        self._link.put(self._name, fd)
        return fd
