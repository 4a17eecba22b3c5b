"""Room on the host's disk for memories that are being written: beyond what is kept free, and promised once."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator


class Room:
    """`free`: how many bytes the disk has, now; `keep_bytes` of them are for others. Safe to use from any thread."""

    def __init__(self, free: Callable[[], int], keep_bytes: int) -> None:
        self._free = free
        self._keep_bytes = keep_bytes
        self._lock = threading.Lock()
        self._promised_bytes = 0

    @contextlib.contextmanager
    def promised(self, size_bytes: int) -> Iterator[bool]:
        """Whether there is room for so much, which is then nobody else's for as long as the block lasts."""
        with self._lock:
            fits = self._free() - self._promised_bytes >= size_bytes + self._keep_bytes
            mine_bytes = size_bytes if fits else 0
            self._promised_bytes += mine_bytes
        try:
            yield fits
        finally:
            with self._lock:
                self._promised_bytes -= mine_bytes


def free_bytes(directory: str) -> int:
    """What whoever is not root may take of its disk."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
