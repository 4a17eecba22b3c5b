"""The map changes that are acknowledged but not stored yet, in memory that outlives the worker.

A write is acknowledged when its data is in the slab file; the map is stored only at the next flush. When the worker
alone is killed, the kernel does not send acknowledged writes again, so the map changes must not die with it. They are
noted here, before the acknowledgement, in a memfd that volumed holds too. A power loss takes the memfd, and may:
nothing was flushed.

    header   magic │ era │ head │ tail            head, tail: records ever dropped, ever appended
    records  (first chunk, count, place) × as many as fit, as a ring; place 0: holes, else consecutive slots

Replaying records that were stored already is harmless: the last record of a chunk wins. `era` ties the log to one head:
restoring a checkpoint stores the next era with the new head, and a log of another era is void.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import msgspec

from ... import errors

CAPACITY = 8192
_MAGIC = 0x31544C4450494C54
_HEADER = struct.Struct("<QQQQ")
_FIELD = struct.Struct("<Q")
_RECORD = struct.Struct("<QQQ")
RECORD_BYTES = _RECORD.size
_ERA_AT, _HEAD_AT, _TAIL_AT = 8, 16, 24


class Change(msgspec.Struct, frozen=True):
    """Chunks `first`.. are at `place`.. (consecutive), or are holes."""

    first: int
    count: int
    place: int

    def places(self) -> Iterator[tuple[int, int]]:
        """(chunk, place) of each."""
        for n in range(self.count):
            yield self.first + n, self.place + n if self.place else 0


def parse(records: bytes) -> list[Change]:
    """Records → changes."""
    return [Change(*fields) for fields in _RECORD.iter_unpack(records)]


def create() -> int:
    """A new, empty log; the caller owns the descriptor."""
    fd = os.memfd_create("volume-delta", os.MFD_CLOEXEC)
    os.ftruncate(fd, _HEADER.size + CAPACITY * _RECORD.size)
    os.pwrite(fd, _HEADER.pack(_MAGIC, 0, 0, 0), 0)
    return fd


class DeltaLog:
    """The log in a descriptor, which stays the caller's. Not thread-safe."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, 0)
        self._capacity = (len(self._memory) - _HEADER.size) // _RECORD.size
        self.era: int
        self._head: int
        self._tail: int
        magic, self.era, self._head, self._tail = _HEADER.unpack_from(self._memory)
        if magic != _MAGIC:
            raise errors.PeerError("open delta log: this is none")

    @property
    def first(self) -> int:
        """Position of the oldest record."""
        return self._head

    @property
    def position(self) -> int:
        """How many records were ever appended."""
        return self._tail

    @property
    def is_filling(self) -> bool:
        """Whether a flush should make room."""
        return self._tail - self._head > self._capacity // 2

    def append(self, change: Change) -> None:
        """Note a change. Being killed inside leaves it noted or not, never half."""
        if self._tail - self._head >= self._capacity:
            raise errors.HostError("note a map change: the log is full")
        at = self._at(self._tail)
        _RECORD.pack_into(self._memory, at, change.first, change.count, change.place)
        self._tail += 1
        _FIELD.pack_into(self._memory, _TAIL_AT, self._tail)

    def changes(self, era: int) -> list[Change]:
        """All records, the oldest first; none when they belong to another era."""
        if era != self.era:
            return []
        return parse(self.records(self._head))

    def records(self, position: int) -> bytes:
        """Those from that position on, as they are."""
        begin, end = self._at(position), self._at(self._tail)
        if position == self._tail:
            return b""
        return self._memory[begin:end] if begin < end else self._memory[begin:] + self._memory[_HEADER.size : end]

    def _at(self, position: int) -> int:
        return _HEADER.size + position % self._capacity * _RECORD.size

    def drop_until(self, position: int) -> None:
        """The records before `position` are stored."""
        self._head = position
        _FIELD.pack_into(self._memory, _HEAD_AT, position)

    def reset(self, era: int, position: int = 0) -> None:
        """Forget everything; what comes belongs to `era`, and has at least that position."""
        self._tail = max(self._tail, position)
        _FIELD.pack_into(self._memory, _TAIL_AT, self._tail)
        self.drop_until(self._tail)
        self.era = era
        _FIELD.pack_into(self._memory, _ERA_AT, era)

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
