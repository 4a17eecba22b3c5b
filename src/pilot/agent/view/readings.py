"""Texts that are being read: a reader who comes for the rest of one gets the rest of that one.

A read of the kernel's is a page, so that a longer text takes several, between which another reader may begin, or the
facts change. Each open file has a text of its own, made anew by a read from the start.
"""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Callable

# Of all open files together; those that were read longest ago are given up, and made anew when they are read on.
MOST_BYTES = 1 << 20


class Readings:
    """`text(NAME)` is the text of a file now. For one thread."""

    def __init__(self, text: Callable[[str], str]) -> None:
        self._text = text
        # Files that a former agent opened have its numbers: ours begin elsewhere.
        self._handles = itertools.count(int.from_bytes(os.urandom(8), "little") >> 2)
        self._begun: collections.OrderedDict[int, bytes] = collections.OrderedDict()
        self._bytes = 0

    def open(self) -> int:
        """Another file's handle."""
        return next(self._handles)

    def read(self, handle: int, name: str, offset: int, size: int) -> bytes:
        """At the end, nothing. What `text` raises."""
        begun = self._forget(handle)
        whole = begun if offset and begun is not None else self._text(name).encode()
        self._keep(handle, whole)
        return whole[offset : offset + size]

    def close(self, handle: int) -> None:
        self._forget(handle)

    def _keep(self, handle: int, whole: bytes) -> None:
        self._begun[handle] = whole
        self._bytes += len(whole)
        while self._bytes > MOST_BYTES and len(self._begun) > 1:
            self._forget(next(iter(self._begun)))

    def _forget(self, handle: int) -> bytes | None:
        whole = self._begun.pop(handle, None)
        self._bytes -= len(whole or b"")
        return whole
