"""What is read from an object store, from a disk's directory and from exported files.

Checksums keep a fuzzer out of everything behind them, so they are made to fit: what is behind must hold by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator

import msgspec
import zstandard

from pilot import errors
from pilot.volume import layout
from pilot.volume.books import delta
from pilot.volume.disk import journal
from pilot.volume.facts import Facts
from pilot.volume.names import Place, Stamp
from pilot.volume.operator import archive
from pilot.volume.remote.log import codec, head, recovery, segment, snapshot
from pilot.volume.remote.log.codec import Codec, Damaged
from tests.fuzz.target import Form, Target

_STAMP = Stamp(3, 7)
_ENTRY = struct.Struct("<QII16s")
_SNAPSHOT = struct.Struct("<8sIIQQ")
_CHUNK = zstandard.ZstdCompressor(level=1).compress(bytes(layout.CHUNK_BYTES))


def _segment(data: bytes) -> None:
    """A head whose sizes, hashes and checksum fit what there is; then each chunk."""
    count = min((data[:1] or b"\0")[0] % 8, (len(data) - 1) // _ENTRY.size)
    index, chunks = data[1 : 1 + max(count, 0) * _ENTRY.size], data[1 + max(count, 0) * _ENTRY.size :]
    size = segment.PRELUDE.size + len(index)
    index = b"".join(_with_hash(entry, bytes(size) + chunks) for entry in _ENTRY.iter_unpack(index))
    start = (segment.MAGIC, _STAMP.epoch, 0, _STAMP.seq, 1, size + len(chunks), size, len(index) // _ENTRY.size, 0)
    crc = zlib.crc32(index, zlib.crc32(segment.PRELUDE.pack(*start, 0)))
    whole = segment.PRELUDE.pack(*start, crc) + index + chunks
    found = segment.decode_head(whole, _STAMP, len(whole))
    for at in found.places.values():
        with contextlib.suppress(Damaged):
            chunk = segment.decode_chunk(whole[at.offset : at.offset + at.length], at, Codec())
            assert len(chunk) == layout.CHUNK_BYTES


def _with_hash(entry: tuple[int, int, int, bytes], whole: bytes) -> bytes:
    slot, offset, length, _ = entry
    return _ENTRY.pack(slot, offset, length, codec.digest(whole[offset : offset + length]))


def _segment_head(data: bytes) -> None:
    """As it comes, its checksum made to fit."""
    crc = zlib.crc32(data[segment.PRELUDE.size :], zlib.crc32(data[: segment.PRELUDE.size - 4] + bytes(4)))
    fixed = data[: segment.PRELUDE.size - 4] + crc.to_bytes(4, "little") + data[segment.PRELUDE.size :]
    segment.decode_head(fixed, _STAMP, len(fixed))


def _delta(data: bytes) -> None:
    """What a batch changes, packed as it is in a segment."""
    stored = Codec().pack(data, _STAMP, codec.DELTA)
    known = segment.Head(_STAMP, 1, segment.Flag.COMMIT, len(stored), {}, stored)
    books = recovery.Books()
    books.apply({}, known.delta(Codec()))
    _ = books.facts


def _packed(data: bytes) -> None:
    """What is unpacked, whatever it says of its own size."""
    assert len(Codec().unpack(data, _STAMP, 0, 1 << 20)) <= 1 << 20


def _snapshot(data: bytes) -> None:
    stored = Codec().pack(data, _STAMP, codec.SNAPSHOT)
    whole = _SNAPSHOT.pack(snapshot.MAGIC, _STAMP.epoch, 0, _STAMP.seq, len(stored)) + stored
    books = recovery.Books()
    books.begin(snapshot.decode(whole, _STAMP, codec.digest(whole), Codec()))
    _ = books.facts


def _head(data: bytes) -> None:
    found = head.decode(data, "HEAD.json")
    assert head.decode(head.encode(found), "HEAD.json") == found
    found.stamp_of(found.replay_from)


def _facts(data: bytes) -> None:
    found = Facts.parse(msgspec.json.decode(data, type=dict[str, str]))
    assert Facts.parse(found.rows()) == found
    found.list_checkpoints()


_BLOCK = struct.Struct("<QQQQII")


def _journal(data: bytes) -> None:
    """Blocks of (era, begun, position, count and records), sizes and checksums made to fit."""
    blob, noted = b"", int.from_bytes(data[:1], "little")
    for part in data[1:].split(b"|"):
        numbers, records = part[:3].ljust(3, b"\0"), part[3:]
        records = records[: len(records) // delta.RECORD_BYTES * delta.RECORD_BYTES]
        for block in _blocks(numbers[0] % 4, numbers[1], numbers[2], records):
            blob += block
    changes, position = journal.decode(blob, 1, noted)
    assert position == noted + len(changes)


def _blocks(era: int, begun: int, position: int, records: bytes) -> Iterator[bytes]:
    magic = struct.unpack_from("<Q", journal.encode(0, 0, bytes(delta.RECORD_BYTES)))[0]
    fields = (magic, era, begun, position, len(records) // delta.RECORD_BYTES)
    crc = zlib.crc32(records, zlib.crc32(_BLOCK.pack(*fields, 0)))
    yield (_BLOCK.pack(*fields, crc) + records).ljust(4096, b"\0")[:4096]


class _Sink:
    """An `archive.Sink` that is content with what the reader promises it."""

    def __init__(self) -> None:
        self.pages = self.chunks = 0

    def begin(self, header: archive.Header) -> None:
        layout.check_size(header.size_bytes)

    def chunk(self, slot: int, content: bytes) -> None:
        self.chunks += 1
        assert (slot, len(content)) == (self.chunks, layout.CHUNK_BYTES)

    def page(self, number: int, entries: bytes) -> None:
        self.pages += 1
        assert (number, len(entries)) == (self.pages, 8 * layout.PAGE_ENTRIES)

    def end(self, end: archive.End) -> None:
        Facts().with_rows(archive.facts_of(end.facts, end.roots))


_FRAME = struct.Struct("<BBH")
_PACK = zstandard.ZstdCompressor(level=1)
_WHOLE = {archive.Frame.CHUNK: layout.CHUNK_BYTES, archive.Frame.PAGE: 8 * layout.PAGE_ENTRIES}


def _archive(data: bytes) -> None:
    """Frames (kind, how they are packed, length, payload), their checks made to fit."""
    check, stream = hashlib.blake2b(archive.MAGIC, digest_size=16), archive.MAGIC
    while len(data) >= _FRAME.size:
        kind, packing, length = _FRAME.unpack_from(data)
        payload, data = data[_FRAME.size : _FRAME.size + length], data[_FRAME.size + length :]
        if packing and kind in _WHOLE:
            payload = payload[:8] + _PACK.compress(payload[8:].ljust(_WHOLE[archive.Frame(kind)], b"\0"))
        frame = struct.pack("<II", kind, len(payload)) + payload
        check.update(frame)
        stream += frame + check.digest()
    rest = [stream]

    def take(count: int) -> bytes:
        taken, rest[0] = rest[0][:count], rest[0][count:]
        return taken

    archive.read(take, _Sink())


def _framed(*frames: tuple[archive.Frame, bytes]) -> bytes:
    return b"".join(_FRAME.pack(kind, 1, len(payload)) + payload for kind, payload in frames)


_HEADER = msgspec.msgpack.encode(archive.Header(volume="v", size_bytes=1 << 30, created_at=1.0))
_ROOT = (1).to_bytes(8, "little")
_END = msgspec.msgpack.encode(archive.End(1, 1, {"head": _ROOT, "checkpoint/v1": _ROOT}, {"generation": "4"}))
_BOMB = bytes.fromhex("28b52ffde0") + struct.pack("<Q", 1 << 45) + bytes((1, 0, 0))
_SAVED = '{"id": "v1", "generation": 1, "created_at": 1.0, "comment": null, "frozen_ms": 0.1, "clean": true}'
_HEAD = head.Head(disk="0011223344556677", volume="v", size_bytes=1 << 30, epoch=3, history=((3, 1),), seq=4)
_ROWS = {"size": "1073741824", "lineage": "[]", "checkpoint/v1": _SAVED, "local/durable/head": "1.5", "boot": "0 4"}
_PLACE = {5: Place(_STAMP, 88, 20, 0, bytes(16))}
_IMAGE = snapshot.Image({1: bytes(8192)}, {"head": _ROOT}, _ROWS, snapshot.table(_PLACE.items()))
_TORN = msgspec.structs.replace(_IMAGE, places=msgspec.structs.replace(_IMAGE.places, which=b""))
_IMAGES = (msgspec.msgpack.encode(_IMAGE), b"\x91\x81\x01\xa1\xff", msgspec.msgpack.encode(_TORN))
_HEADS = (head.encode(_HEAD), b'{"disk": "\xff"}', b'{"x": ' + b"[" * 10_000)
_CHANGES = segment.Delta({1: bytes(8192)}, {"head": _ROOT, "fork/x": None}, {"generation": "2", "vm": None})
_ENCODED = segment.encode(_STAMP, 1, [(9, _CHUNK)], None, Codec()).data
_BATCHES = (msgspec.msgpack.encode(_CHANGES), b"\x81\xa1\xff\xa1\xff", b"\x81\xa1x" + b"\x91" * 10_000)

TARGETS = {
    "segment": Target(_segment, (Damaged,), (b"\1" + _ENTRY.pack(9, 88, len(_CHUNK), bytes(16)) + _CHUNK,)),
    "segment-head": Target(_segment_head, (Damaged,), (_ENCODED,)),
    "segment-delta": Target(_delta, (Damaged, errors.HostError), _BATCHES, 16384,
                            Form.MSGPACK),
    "packed-chunk": Target(_packed, (Damaged,), (_CHUNK, _BOMB)),
    "map-snapshot": Target(_snapshot, (Damaged, errors.HostError), _IMAGES, 16384,
                           Form.MSGPACK),
    "head-json": Target(_head, (Damaged, errors.HostError), _HEADS, form=Form.JSON),
    "facts": Target(_facts, (errors.HostError, ValueError, RecursionError), (json.dumps(_ROWS).encode(),),
                    form=Form.JSON),
    "journal": Target(_journal, (errors.HostError,), (b"\0\1\0\0" + bytes(24) + b"|\1\1\1" + bytes(48),)),
    "archive": Target(
        _archive, (errors.PilotError,),
        (
            _framed((archive.Frame.HEADER, _HEADER), (archive.Frame.CHUNK, _ROOT), (archive.Frame.PAGE, _ROOT + _ROOT),
                    (archive.Frame.END, _END)),
            _framed((archive.Frame.HEADER, _HEADER)) + _FRAME.pack(2, 0, 8 + len(_BOMB)) + _ROOT + _BOMB,
        ),
    ),
}  # fmt: skip
