"""Map snapshots: all pages, roots, facts and places of slots at one point of the log, packed into one object.

    magic 8 │ epoch u32 │ flags u32 │ seq u64 │ stored bytes u64        32 bytes
    stored    zstd of MessagePack [pages, roots, facts, stamps, slots, which stamp, offsets, lengths, numbers, hashes],
              perhaps encrypted; HEAD has its hash

The table of slots is one array per column: like compresses with like, and a disk of 100 GB needs no object per slot.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator

import msgspec

from .... import errors
from ... import layout, names
from ...names import Place, Stamp
from . import codec
from .codec import Codec, Damaged
from .segment import Flag

MAGIC = b"pilotmp1"
_HEAD = struct.Struct("<8sIIQQ")
_MAX_PLAIN_BYTES = 4 << 30


class Table(msgspec.Struct, frozen=True, array_like=True):
    """Places of slots, by column (little-endian arrays)."""

    stamps: list[tuple[int, int]]
    slots: bytes
    which: bytes
    offsets: bytes
    lengths: bytes
    numbers: bytes
    hashes: bytes

    @property
    def is_whole(self) -> bool:
        """Whether each slot has something in every column, and a stamp."""
        count, rest = divmod(len(self.slots), 8)
        fours = {len(column) for column in (self.which, self.offsets, self.lengths, self.numbers)}
        fits = rest == 0 and fours == {4 * count} and len(self.hashes) == codec.HASH_BYTES * count
        return fits and max(_column("I", self.which), default=-1) < len(self.stamps)

    def __iter__(self) -> Iterator[tuple[int, Place]]:
        """(slot, place) of each."""
        stamps = [Stamp(*pair) for pair in self.stamps]
        columns = (_column("Q", self.slots), *(_column("I", c) for c in (self.which, self.offsets, self.lengths)))
        for n, (slot, which, offset, length) in enumerate(zip(*columns, strict=True)):
            number = int.from_bytes(self.numbers[4 * n : 4 * n + 4], "little")
            digest = self.hashes[n * codec.HASH_BYTES : (n + 1) * codec.HASH_BYTES]
            yield slot, Place(stamps[which], offset, length, number, digest)


class Image(msgspec.Struct, frozen=True, array_like=True):
    """Everything that is known of a disk at one point of its log."""

    pages: dict[int, bytes]
    roots: dict[str, bytes]
    facts: dict[str, str]
    places: Table


def table(places: Iterable[tuple[int, Place]]) -> Table:
    """Places by column."""
    stamps: dict[Stamp, int] = {}
    slots, which, offsets, lengths, numbers = array("Q"), array("I"), array("I"), array("I"), array("I")
    hashes = bytearray()
    for slot, at in places:
        slots.append(slot)
        which.append(stamps.setdefault(at.stamp, len(stamps)))
        offsets.append(at.offset)
        lengths.append(at.length)
        numbers.append(at.number)
        hashes += at.hash
    first = [(stamp.epoch, stamp.seq) for stamp in stamps]
    return Table(first, slots.tobytes(), which.tobytes(), offsets.tobytes(), lengths.tobytes(), numbers.tobytes(),
                 bytes(hashes))  # fmt: skip


def encode(stamp: Stamp, image: Image, packer: Codec) -> bytes:
    """The object for `map/<stamp>`."""
    stored = packer.pack(msgspec.msgpack.encode(image), stamp, codec.SNAPSHOT)
    flags = Flag.ENCRYPTED if packer.cipher else Flag.NONE
    return _HEAD.pack(MAGIC, stamp.epoch, flags, stamp.seq, len(stored)) + stored


def decode(data: bytes, stamp: Stamp, digest: bytes, packer: Codec) -> Image:
    """The image in an object whose hash must be `digest`; Damaged."""
    what = f"map {names.text(stamp)}"
    if codec.digest(data) != digest or len(data) < _HEAD.size:
        raise Damaged(f"{what}: damaged")
    magic, epoch, _, seq, size = _HEAD.unpack_from(data)
    if magic != MAGIC and magic[:-1] == MAGIC[:-1]:
        raise Damaged(f"{what}: is of format {magic!r}, this program knows {MAGIC!r}", hint=layout.OTHER_BUILD)
    if magic != MAGIC or Stamp(epoch, seq) != stamp or _HEAD.size + size != len(data):
        raise Damaged(f"{what}: is something else")
    plain = packer.unpack(memoryview(data)[_HEAD.size :], stamp, codec.SNAPSHOT, _MAX_PLAIN_BYTES)
    try:
        found = msgspec.msgpack.decode(plain, type=Image)
    except errors.UNREADABLE as error:
        raise Damaged(f"{what}: {error}") from error
    if not found.places.is_whole:
        raise Damaged(f"{what}: its columns do not fit each other")
    return found


def _column(kind: str, data: bytes) -> array[int]:
    found = array(kind)
    found.frombytes(data)
    return found
