"""Texts on their way through open files: what was written to one, and what is read from it. Each open file has its own,
so nobody comes between. Pure.

    write … write        one text; at most MOST_BYTES, one piece after the other
    read … read          what the key made of it, from where the first read stood: right behind the text, or at 0
    write                another text begins
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
import os
import secrets

from ...wire.secret_keys import MOST_BYTES

_MORE_BYTES = 256  # a ciphertext, or a signature and its message, is longer than a text
# Of all open files together, whosoever: they are remembered by the agent, and not at the cost of who opens them.
MOST_HELD_BYTES = 8 << 20
MOST_OPEN = 1024


@dataclasses.dataclass
class Exchange:
    """`start`: where the text was written to; `base`: where the first read stood."""

    text: bytearray = dataclasses.field(default_factory=bytearray)
    start: int = 0
    made: bytes | None = None
    base: int = 0
    is_too_long: bool = False

    def write(self, offset: int, data: bytes) -> None:
        """`OSError`: EFBIG, or EINVAL for a piece that is not the next. Of a text that was too long the kernel tells a
        part as written: nothing is made of that."""
        if self.made is not None or not self.text:
            self.text, self.made, self.start = bytearray(), None, offset
        if offset != self.start + len(self.text):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.is_too_long |= len(self.text) + len(data) > MOST_BYTES + _MORE_BYTES
        self.require_whole()
        self.text += data

    def require_whole(self) -> None:
        """`OSError`: EFBIG, for as long as the file is open."""
        if self.is_too_long:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    def took(self, offset: int, made: bytes) -> None:
        """The first read, there, has it made."""
        self.made, self.base = made, offset

    def read(self, offset: int, size: int) -> bytes:
        """Of what was made; who went back before where it begins begins anew there."""
        assert self.made is not None
        if offset < self.base:
            self.base = offset
        return self.made[offset - self.base :][:size]

    @property
    def held_bytes(self) -> int:
        return len(self.text) + len(self.made or b"")


class Exchanges:
    """By handle. A handle of a former agent is none of ours: ESTALE."""

    def __init__(self) -> None:
        self._handles = itertools.count(secrets.randbits(62))
        self._open: dict[int, Exchange] = {}

    def open(self) -> int:
        """`OSError`: ENFILE."""
        if len(self._open) >= MOST_OPEN:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        handle = next(self._handles)
        self._open[handle] = Exchange()
        return handle

    def find(self, handle: int) -> Exchange:
        found = self._open.get(handle)
        if found is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return found

    def require_room(self, size: int) -> None:
        """`OSError`: ENOSPC."""
        if sum(each.held_bytes for each in self._open.values()) + size > MOST_HELD_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self, handle: int) -> None:
        self._open.pop(handle, None)
