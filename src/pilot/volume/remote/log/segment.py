"""Segments: the log of a volume as objects of 8 to 16 MiB. Bytes and values only; no store, no clock.

    prelude   magic 8 │ epoch u32 │ flags u32 │ seq u64 │ generation u64 │ total bytes u64 │ head bytes u32
              │ entries u32 │ delta bytes u32 │ crc32 u32                                                  56 bytes
    index     entries × (slot u64 │ offset u32 │ length u32 │ hash 16)                          32 bytes each
    delta     COMMIT only: what changed in the map (zstd of MessagePack, perhaps encrypted)
    ───────── head bytes end here; the crc covers all of them (itself as 0)
    chunks    each 64 KiB as zstd, perhaps encrypted; at `offset` from the object's start

A *batch* is what one cut of the disk has to say: chunks in as many segments as it takes, and its map delta in the last
one, which carries COMMIT. Without that one the batch does not exist. Chunks are keyed by slot: places (`layout`) mean
the same on every host, so the delta is the pages and roots of the map as they are stored locally, trims included.
Recovery reads heads only.

The segment with COMMIT is stored after all others of its batch; those are stored in any order, at most IN_FLIGHT at a
time. So a killed writer may leave a gap, or half an object, among the last IN_FLIGHT segments; but with a COMMIT behind
it a gap is damage.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from .... import errors
from ... import layout, names
from ...names import Place, Stamp
from . import codec
from .codec import Codec, Damaged

MAGIC = b"pilotsg1"
TARGET_BYTES = 8 << 20
IN_FLIGHT = 3
MAX_ENTRIES = 1 << 14
MAX_DELTA_BYTES = 512 << 20
PRELUDE = struct.Struct("<8sIIQQQIIII")
_ENTRY = struct.Struct(f"<QII{codec.HASH_BYTES}s")
_CRC_AT = PRELUDE.size - 4
HEAD_GUESS_BYTES = 64 << 10
_MAX_CHUNK_STORED = layout.CHUNK_BYTES + 1024


class Truncated(Damaged):
    """The object is shorter than it says: a PUT that came through in part."""


class Flag(enum.IntFlag):
    """What a segment is."""

    NONE = 0
    COMMIT = 1
    ENCRYPTED = 2


class Delta(msgspec.Struct, frozen=True):
    """What a batch changes in the books; None removes. `full`: the roots and facts are all there are."""

    pages: dict[int, bytes]
    roots: dict[str, bytes | None]
    facts: dict[str, str | None]
    full: bool = False


class Head(msgspec.Struct, frozen=True):
    """The decoded head of a segment."""

    stamp: Stamp
    generation: int
    flags: Flag
    total_bytes: int
    places: Mapping[int, Place]
    stored_delta: bytes

    @property
    def is_commit(self) -> bool:
        """Whether the batch ends here."""
        return Flag.COMMIT in self.flags

    def delta(self, packer: Codec) -> Delta:
        """The batch's map changes; Damaged."""
        plain = packer.unpack(self.stored_delta, self.stamp, codec.DELTA, MAX_DELTA_BYTES)
        try:
            return msgspec.msgpack.decode(plain, type=Delta)
        except errors.UNREADABLE as error:
            raise Damaged(f"segment {names.text(self.stamp)}: map delta: {error}") from error


class Encoded(msgspec.Struct, frozen=True):
    """A segment ready to be stored; `commits`: the last of its batch."""

    stamp: Stamp
    data: bytes
    places: Mapping[int, Place]
    commits: bool


def encode(
    stamp: Stamp, generation: int, chunks: Iterable[tuple[int, bytes]], delta: Delta | None, packer: Codec
) -> Encoded:
    """A segment of these (slot, stored chunk)s; with a delta it commits."""
    stored = list(chunks)
    packed = b"" if delta is None else packer.pack(msgspec.msgpack.encode(delta), stamp, codec.DELTA)
    flags = (Flag.COMMIT if delta is not None else Flag.NONE) | (Flag.ENCRYPTED if packer.cipher else Flag.NONE)
    head_bytes = PRELUDE.size + len(stored) * _ENTRY.size + len(packed)
    places: dict[int, Place] = {}
    offset = head_bytes
    for index, (slot, data) in enumerate(stored):
        places[slot] = Place(stamp, offset, len(data), index, codec.digest(data))
        offset += len(data)
    index_bytes = b"".join(_ENTRY.pack(slot, at.offset, at.length, at.hash) for slot, at in places.items())
    prelude = PRELUDE.pack(
        MAGIC, stamp.epoch, flags, stamp.seq, generation, offset, head_bytes, len(stored), len(packed), 0
    )
    crc = zlib.crc32(packed, zlib.crc32(index_bytes, zlib.crc32(prelude)))
    head = [prelude[:_CRC_AT], crc.to_bytes(4, "little"), index_bytes, packed]
    return Encoded(stamp, b"".join([*head, *(data for _, data in stored)]), places, delta is not None)


def head_bytes(start: bytes) -> int:
    """How long the head is, from the object's first bytes; Damaged."""
    return _prelude(start)[6]


def decode_head(start: bytes, stamp: Stamp, object_bytes: int) -> Head:
    """The head from at least `head_bytes` of an object that has `object_bytes`; Damaged when anything is not right."""
    what = f"segment {names.text(stamp)}"
    _, epoch, flags, seq, generation, total, size, entries, delta_size, crc = _prelude(start)
    if object_bytes < total:
        raise Truncated(f"{what}: {object_bytes} of {total} bytes")
    if Stamp(epoch, seq) != stamp or total != object_bytes:
        raise Damaged(f"{what}: is {names.text(Stamp(epoch, seq))}, {object_bytes} of {total} bytes")
    index_end = PRELUDE.size + entries * _ENTRY.size
    if not index_end + delta_size == size <= min(len(start), total) or entries > MAX_ENTRIES:
        raise Damaged(f"{what}: head of {size} bytes with {entries} entries: cut short")
    found = zlib.crc32(start[PRELUDE.size : size], zlib.crc32(start[:_CRC_AT] + bytes(4)))
    if found != crc:
        raise Damaged(f"{what}: head has checksum {found:08x}, not {crc:08x}")
    places = dict(_entries(start[PRELUDE.size : index_end], stamp, size, total))
    return Head(stamp, generation, Flag(flags), total, places, start[index_end:size])


def _entries(index: bytes, stamp: Stamp, low: int, high: int) -> Iterator[tuple[int, Place]]:
    for number, (slot, offset, length, digest) in enumerate(_ENTRY.iter_unpack(index)):
        if slot < 1 or offset < low or offset + length > high or not 0 < length <= _MAX_CHUNK_STORED:
            raise Damaged(f"segment {names.text(stamp)}: entry {number}: slot {slot}, {length} bytes at {offset}")
        yield slot, Place(stamp, offset, length, number, digest)


def _prelude(start: bytes) -> tuple[bytes, int, int, int, int, int, int, int, int, int]:
    if len(start) < PRELUDE.size:
        raise Truncated(f"segment: of {len(start)} bytes")
    fields = PRELUDE.unpack_from(start)
    if fields[0] != MAGIC and fields[0][:-1] == MAGIC[:-1]:
        raise Damaged(f"segment: is of format {fields[0]!r}, this program knows {MAGIC!r}", hint=layout.OTHER_BUILD)
    if fields[0] != MAGIC:
        raise Damaged(f"segment: begins with {fields[0]!r}")
    return fields


def decode_chunk(stored: bytes | memoryview, at: Place, packer: Codec) -> bytes:
    """The 64 KiB that are stored at a place; Damaged when they are not what was put there."""
    if len(stored) != at.length or codec.digest(stored) != at.hash:
        raise Damaged(f"segment {names.text(at.stamp)}: chunk {at.number}, {at.length} bytes at {at.offset}: damaged")
    plain = packer.unpack(stored, at.stamp, at.number, layout.CHUNK_BYTES)
    if len(plain) != layout.CHUNK_BYTES:
        raise Damaged(f"segment {names.text(at.stamp)}: chunk {at.number}: {len(plain)} bytes long")
    return plain


def is_chunk(plain: bytes | memoryview, at: Place, packer: Codec) -> bool:
    """Whether this is certainly the chunk that is stored at a place; nothing is read. False says nothing: another
    version of zstd may have packed it."""
    return codec.digest(packer.pack(plain, at.stamp, at.number)) == at.hash


def build(
    first: Stamp,
    generation: int,
    slots: Iterable[int],
    read: Callable[[int], bytes | memoryview],
    delta: Delta,
    packer: Codec,
) -> Iterator[Encoded]:
    """A batch as segments from `first` on: the slots' contents, and the delta with COMMIT in the last.

    A generator, so that the caller decides how many are in memory.
    """
    stamp, chunks, size = first, list[tuple[int, bytes]](), 0
    for slot in slots:
        if size >= TARGET_BYTES or len(chunks) == MAX_ENTRIES:
            yield encode(stamp, generation, chunks, None, packer)
            stamp, chunks, size = Stamp(stamp.epoch, stamp.seq + 1), [], 0
        chunks.append((slot, packer.pack(read(slot), stamp, len(chunks))))
        size += len(chunks[-1][1])
    yield encode(stamp, generation, chunks, delta, packer)
