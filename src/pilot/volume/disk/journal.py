"""The journal: changes of the map that are stable, and not in meta.db yet. Most flushes write one block here, where a
commit would write whole pages of the map, the root, and the database's own log.

    file `journal`, BLOCKS × 4096:   magic │ era │ begun │ position │ count, crc │ records (24 bytes each)

`position` numbers the block's first record, over the life of the disk, and `begun` that of its flush. meta.db says in
the fact `local/noted` up to which position its map has everything; what it has is void here, so blocks are used again
from the first after each commit of a map. Opening the disk replays those after it, in order, up to the first that is
missing. A block that does not fit its checksum, and others of the same flush, belong to one that never returned; but a
flush begins only when the one before it is stable, so a gap before a block that was `begun` behind it is damage, and an
error. (Damage to the last flush of all looks as if it had never returned.) A journal of another era (the head was
replaced) is void.

A block is written when the data of its records is stable, and is stable when `append` returns (O_DSYNC); its place was
written before, so that no size and no extent changes with it. Lost or damaged, it costs what was flushed since the last
commit of a map, never more, so `Disk` stores a map whenever it has a reason to.

Where there is no room for a block, or nobody knows whether the last commit of a map is stored (its fsync failed), a
flush stores the map instead: what `noted` a block belongs to must be certain.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib

from ... import errors
from ...kernel import files
from .. import layout
from ..books import delta
from . import slab

BLOCKS = 64
_BLOCK = 4096
_MAGIC = 0x324C4E4A544C4950  # "PILTJNL2": the last byte is the version
_KIND = (1 << 56) - 1
_HEADER = struct.Struct("<QQQQII")
_RECORDS = (_BLOCK - _HEADER.size) // delta.RECORD_BYTES
_AT_ONCE = 16


def encode(era: int, position: int, records: bytes) -> bytes:
    """Blocks for these records, the first of which has that position."""
    step = _RECORDS * delta.RECORD_BYTES
    parts = [records[start : start + step] for start in range(0, len(records), step)]
    return b"".join(_block(era, position, position + n * _RECORDS, part) for n, part in enumerate(parts))


def _block(era: int, begun: int, position: int, records: bytes) -> bytes:
    count = len(records) // delta.RECORD_BYTES
    crc = zlib.crc32(records, zlib.crc32(_HEADER.pack(_MAGIC, era, begun, position, count, 0)))
    return (_HEADER.pack(_MAGIC, era, begun, position, count, crc) + records).ljust(_BLOCK, b"\0")


def decode(blob: bytes, era: int, noted: int) -> tuple[list[delta.Change], int]:
    """What is to be replayed over a map that has everything before position `noted`, and the position behind it.

    HostError when a flush is missing after which another one returned.
    """
    blocks = [_parse(blob[start : start + _BLOCK], era) for start in range(0, len(blob), _BLOCK)]
    found = {position: (begun, records) for begun, position, records in filter(None, blocks)}
    changes: list[delta.Change] = []
    position = noted
    while position in found:
        records = found[position][1]
        changes += delta.parse(records)
        position += len(records) // delta.RECORD_BYTES
    if any(begun > position for begun, _ in found.values()):
        raise errors.HostError(f"record {position} is missing, and later ones are there: the file is damaged")
    return changes, position


def _parse(block: bytes, era: int) -> tuple[int, int, bytes] | None:
    """(begun, position, records) of a block of this era; None for any other."""
    if len(block) < _BLOCK:
        return None
    magic, of_era, begun, position, count, crc = _HEADER.unpack_from(block)
    records = block[_HEADER.size : _HEADER.size + count * delta.RECORD_BYTES]
    if magic > _MAGIC and magic & _KIND == _MAGIC & _KIND:
        # To take a later one for empty would lose flushes that were acknowledged. Whoever makes a later one keeps a
        # reader of this: blocks that are void stay where they are until their place is used again.
        raise errors.HostError(
            f"is of format {chr(magic >> 56)!r}, this program knows {chr(_MAGIC >> 56)!r}", hint=layout.OTHER_BUILD
        )
    if magic != _MAGIC or of_era != era or not 0 < count <= _RECORDS:
        return None
    expected = zlib.crc32(records, zlib.crc32(_HEADER.pack(_MAGIC, era, begun, position, count, 0)))
    return (begun, position, records) if crc == expected else None


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
        """As `decode`, of what is in the file; HostError names it."""
        if not self.exists:
            return [], noted
        blob = slab.aligned(BLOCKS * _BLOCK)
        size = os.preadv(self._fd, [blob], 0)
        try:
            return decode(bytes(blob[:size]), era, noted)
        except errors.HostError as error:
            raise errors.HostError(f"open disk: {self._path}: {error}", hint=error.hint) from error

    @property
    def exists(self) -> bool:
        """Whether there is a file; the first flush of a disk makes it."""
        return self._fd >= 0

    def restart(self) -> None:
        """The map is stored: all blocks are void."""
        self._next = 0 if self.exists else BLOCKS

    def stop(self) -> None:
        """Nobody knows which map is stored: no room until one is."""
        self._next = BLOCKS

    def create(self) -> None:
        """Make the file, whole or not at all. The map must be stored."""
        new = self._path + ".new"
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, bytes(BLOCKS * _BLOCK)) != BLOCKS * _BLOCK:
                raise OSError(errno.ENOSPC, "written in part", new)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(new, self._path)
        files.sync_directory(os.path.dirname(self._path))
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
