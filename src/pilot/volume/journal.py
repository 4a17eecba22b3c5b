"""The journal: changes of the map that are stable, and not in meta.db yet. Most flushes write one block here, where a
commit would write whole pages of the map, the root, and the database's own log.

    file `journal`, BLOCKS × 4096:   magic │ era │ position │ count, crc │ records (24 bytes each, as `delta` has them)

`position` numbers the block's first record, over the life of the disk. meta.db says in the fact `local/noted` up to
which position its map has everything; what it has is void here, so blocks are used again from the first after each
commit of a map. Opening the disk replays those after it, in order, up to the first that is missing: what follows a
gap, and a block that does not fit its checksum, belong to a flush that never returned. A journal of another era (the
head was replaced) is void.

A block is written when the data of its records is stable, and is stable when `append` returns (O_DSYNC); its place was
written before, so that no size and no extent changes with it. Lost or damaged, it costs what was flushed since the last
commit of a map, never more, so `Disk` stores a map whenever it has a reason to.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib

from . import delta, slab

BLOCKS = 64
_BLOCK = 4096
_MAGIC = 0x314C4E4A544C4950
_HEADER = struct.Struct("<QQQII")
_RECORDS = (_BLOCK - _HEADER.size) // delta.RECORD_BYTES
_AT_ONCE = 16


def encode(era: int, position: int, records: bytes) -> bytes:
    """Blocks for these records, the first of which has that position."""
    step = _RECORDS * delta.RECORD_BYTES
    parts = [records[start : start + step] for start in range(0, len(records), step)]
    return b"".join(_block(era, position + n * _RECORDS, part) for n, part in enumerate(parts))


def _block(era: int, position: int, records: bytes) -> bytes:
    count = len(records) // delta.RECORD_BYTES
    crc = zlib.crc32(records, zlib.crc32(_HEADER.pack(_MAGIC, era, position, count, 0)))
    return (_HEADER.pack(_MAGIC, era, position, count, crc) + records).ljust(_BLOCK, b"\0")


def decode(blob: bytes, era: int, noted: int) -> tuple[list[delta.Change], int]:
    """What is to be replayed over a map that has everything before position `noted`, and the position behind it."""
    found = dict(filter(None, (_parse(blob[start : start + _BLOCK], era) for start in range(0, len(blob), _BLOCK))))
    changes: list[delta.Change] = []
    position = noted
    while records := found.get(position):
        changes += delta.parse(records)
        position += len(records) // delta.RECORD_BYTES
    return changes, position


def _parse(block: bytes, era: int) -> tuple[int, bytes] | None:
    """(position, records) of a block of this era; None for any other."""
    if len(block) < _BLOCK:
        return None
    magic, of_era, position, count, crc = _HEADER.unpack_from(block)
    records = block[_HEADER.size : _HEADER.size + count * delta.RECORD_BYTES]
    if magic != _MAGIC or of_era != era or not 0 < count <= _RECORDS:
        return None
    expected = zlib.crc32(records, zlib.crc32(_HEADER.pack(_MAGIC, era, position, count, 0)))
    return (position, records) if crc == expected else None


class Journal:
    """Of the disk in `directory`. Not thread-safe."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "journal")
        self._fd = -1
        self._next = BLOCKS
        self._buffer = slab.aligned(_AT_ONCE * _BLOCK)
        try:
            self._open()
        except FileNotFoundError:
            pass  # until `create`

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_DSYNC | os.O_CLOEXEC
        try:
            self._fd = os.open(self._path, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._fd = os.open(self._path, flags)  # no O_DIRECT: an older tmpfs

    def replay(self, era: int, noted: int) -> tuple[list[delta.Change], int]:
        """As `decode`, of what is in the file."""
        if not self.exists:
            return [], noted
        blob = slab.aligned(BLOCKS * _BLOCK)
        size = os.preadv(self._fd, [blob], 0)
        return decode(bytes(blob[:size]), era, noted)

    @property
    def exists(self) -> bool:
        """Whether there is a file; the first flush of a disk makes it."""
        return self._fd >= 0

    def restart(self) -> None:
        """The map is stored: all blocks are void."""
        self._next = 0 if self.exists else BLOCKS

    def create(self) -> None:
        """Make the file, whole or not at all. The map must be stored."""
        new = self._path + ".new"
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, bytes(BLOCKS * _BLOCK))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(new, self._path)
        directory_fd = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory_fd)
        finally:
            os.close(directory_fd)
        self._open()
        self.restart()

    def has_room(self, count: int) -> bool:
        """Whether so many records can be appended."""
        blocks = -(-count // _RECORDS)
        return blocks <= _AT_ONCE and self._next + blocks <= BLOCKS

    def append(self, era: int, position: int, records: bytes) -> None:
        """Stable when it returns. Only when there is room; the position follows that of the last record."""
        blob = encode(era, position, records)
        self._buffer[: len(blob)] = blob
        if os.pwrite(self._fd, self._buffer[: len(blob)], self._next * _BLOCK) != len(blob):
            raise OSError(errno.EIO, "written in part", self._path)
        self._next += len(blob) // _BLOCK

    def close(self) -> None:
        """Close the file."""
        if self.exists:
            os.close(self._fd)
