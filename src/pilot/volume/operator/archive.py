"""One volume with its checkpoints as a stream of bytes: what `pilot volume export` writes and `import` reads.

    magic 8 "pilotvx1"
    frames    kind u32 │ length u32 │ payload │ check 16
              HEADER   first: MessagePack {format, volume, size_bytes, chunk_bytes, created_at}
              CHUNK    slot u64 │ zstd of 64 KiB                slots 1, 2, 3, …
              PAGE     number u64 │ zstd of 8 KiB of places     numbers 1, 2, 3, …; after the chunks that it names
              END      last: MessagePack {chunks, pages, roots, facts}

`check` is a hash of everything before it, so whatever is changed, left out, repeated or exchanged is found at the next
frame; a stream without END is not whole. Little-endian. The lineage is resolved: a slot per distinct place, numbered in
the order of their first use, so what checkpoints share is in there once, and the volume that is made of it has no
ancestors. Values and bytes only; streams are read and written through callables.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from array import array
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Protocol, TypeVar

import msgspec
import zstandard

from ... import errors
from .. import layout
from ..books import map
from ..facts import Rows

MAGIC = b"pilotvx1"
FORMAT = 1
HEAD = "head"
CHECKPOINT = "checkpoint/"
# The rows of a disk's facts that are true anywhere; those of its checkpoints are, too.
_FACTS = frozenset({"formatted", "vm", "sealed", "generation"})
_FRAME = struct.Struct("<II")
_NUMBER = struct.Struct("<Q")
_CHECK_BYTES = 16
_PAGE_BYTES = 8 * layout.PAGE_ENTRIES
_MAX_FRAME_BYTES = 256 << 20
T = TypeVar("T")


class Frame(enum.IntEnum):
    """Kinds of frames."""

    HEADER = 1
    CHUNK = 2
    PAGE = 3
    END = 4


_KINDS = frozenset(int(kind) for kind in Frame)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What comes; `created_at` in seconds since 1970."""

    volume: str
    size_bytes: int
    created_at: float
    chunk_bytes: int = layout.CHUNK_BYTES
    format: int = FORMAT


class End(msgspec.Struct, frozen=True):
    """What came: how many chunks and pages, and the roots over them."""

    chunks: int
    pages: int
    roots: dict[str, bytes]
    facts: dict[str, str]


class DamagedArchive(errors.PilotError):
    """The stream is not what `export` wrote, or not all of it."""


class Source(Protocol):
    """A volume that does not change meanwhile. Pages and chunks are asked for by place."""

    @property
    def roots(self) -> Mapping[str, bytes]: ...
    @property
    def facts(self) -> Rows: ...
    def page(self, at: int) -> bytes: ...
    def chunk(self, at: int) -> bytes: ...


class Sink(Protocol):
    """Where a volume is made; nothing is to be there unless `end` returns."""

    def begin(self, header: Header) -> None: ...
    def chunk(self, slot: int, content: bytes) -> None: ...
    def page(self, number: int, entries: bytes) -> None: ...
    def end(self, end: End) -> None: ...


def facts_of(rows: Rows, roots: Container[str]) -> dict[str, str]:
    """What of a disk's facts goes along with these roots."""
    return {key: text for key, text in rows.items() if key in _FACTS or key in roots}


def write(source: Source, header: Header, out: Callable[[bytes], object]) -> End:
    """Write the whole stream."""
    return _Writer(source, out).run(header)


def read(take: Callable[[int], bytes], sink: Sink) -> tuple[Header, End]:
    """Read a whole stream; `take(n)` gives n bytes, fewer only at the end of the file. DamagedArchive."""
    frames = _frames(take)
    header = _decode(_expect(frames, Frame.HEADER), Header)
    if header.format != FORMAT or header.chunk_bytes != layout.CHUNK_BYTES:
        raise errors.HostError(
            f"read archive: format {header.format} with chunks of {header.chunk_bytes}: unknown here"
        )
    layout.check_size(header.size_bytes)
    layout.parse_volume_id(header.volume)
    sink.begin(header)
    return header, _Reader(header, sink).run(frames)


class _Writer:
    def __init__(self, source: Source, out: Callable[[bytes], object]) -> None:
        self._source = source
        self._out = out
        self._hash = hashlib.blake2b(MAGIC, digest_size=_CHECK_BYTES)
        self._compressor = zstandard.ZstdCompressor(level=1, write_content_size=True)
        self._slots: dict[int, int] = {}
        self._pages: dict[int, int] = {}

    def run(self, header: Header) -> End:
        self._out(MAGIC)
        self._frame(Frame.HEADER, msgspec.msgpack.encode(header))
        roots = {name: self._root(root) for name, root in self._source.roots.items()}
        end = End(len(self._slots), len(self._pages), roots, dict(self._source.facts))
        self._frame(Frame.END, msgspec.msgpack.encode(end))
        return end

    def _root(self, root: bytes) -> bytes:
        return array("Q", (at and self._page(at) for at in map.decode(root))).tobytes()

    def _page(self, at: int) -> int:
        if at not in self._pages:
            entries = array("Q", (place and self._slot(place) for place in map.decode(self._source.page(at))))
            number = len(self._pages) + 1
            self._frame(Frame.PAGE, _NUMBER.pack(number) + self._compressor.compress(entries.tobytes()))
            self._pages[at] = number
        return self._pages[at]

    def _slot(self, place: int) -> int:
        if place not in self._slots:
            slot = len(self._slots) + 1
            self._frame(Frame.CHUNK, _NUMBER.pack(slot) + self._compressor.compress(self._source.chunk(place)))
            self._slots[place] = slot
        return self._slots[place]

    def _frame(self, kind: Frame, payload: bytes) -> None:
        head = _FRAME.pack(kind, len(payload))
        self._hash.update(head + payload)
        self._out(head + payload + self._hash.digest())


class _Reader:
    def __init__(self, header: Header, sink: Sink) -> None:
        self._header = header
        self._sink = sink
        self._decompressor = zstandard.ZstdDecompressor()
        self._chunks = self._pages = 0

    def run(self, frames: Iterator[tuple[Frame, bytes]]) -> End:
        for kind, payload in frames:
            if kind is Frame.CHUNK:
                self._chunks += 1
                self._sink.chunk(self._chunks, self._numbered(payload, self._chunks, layout.CHUNK_BYTES))
            elif kind is Frame.PAGE:
                self._pages += 1
                entries = self._numbered(payload, self._pages, _PAGE_BYTES)
                self._check(entries, self._chunks, f"page {self._pages}")
                self._sink.page(self._pages, entries)
            elif kind is Frame.END:
                return self._end(_decode(payload, End), frames)
            else:
                raise DamagedArchive("read archive: a second header")
        raise DamagedArchive("read archive: it ends too early")

    def _end(self, end: End, frames: Iterator[tuple[Frame, bytes]]) -> End:
        if (end.chunks, end.pages) != (self._chunks, self._pages) or HEAD not in end.roots:
            raise DamagedArchive(
                f"read archive: {self._chunks} chunks and {self._pages} pages, not as it says at its end"
            )
        for name, root in end.roots.items():
            if name != HEAD:
                layout.parse_checkpoint_id(name.removeprefix(CHECKPOINT))
            if len(root) % 8 or len(root) > 8 * layout.page_count(self._header.size_bytes):
                raise DamagedArchive(f"read archive: root {name}: {len(root)} bytes")
            self._check(root, self._pages, f"root {name}")
        if next(frames, None) is not None:
            raise DamagedArchive("read archive: there is something after its end")
        self._sink.end(end)
        return end

    def _numbered(self, payload: bytes, expected: int, size: int) -> bytes:
        if len(payload) < _NUMBER.size or _NUMBER.unpack_from(payload)[0] != expected:
            raise DamagedArchive(f"read archive: piece {expected}: has another number")
        try:
            # Where a frame says how long it is, zstandard believes that, whatever `max_output_size` says.
            if zstandard.frame_content_size(payload[_NUMBER.size :]) > size:
                raise DamagedArchive(f"read archive: piece {expected}: more than {size} bytes")
            content = self._decompressor.decompress(payload[_NUMBER.size :], max_output_size=size)
        except zstandard.ZstdError as error:
            raise DamagedArchive(f"read archive: piece {expected}: {error}") from error
        if len(content) != size:
            raise DamagedArchive(f"read archive: piece {expected}: {len(content)} bytes, not {size}")
        return content

    @staticmethod
    def _check(entries: bytes, limit: int, what: str) -> None:
        if max(map.decode(entries), default=0) > limit:
            raise DamagedArchive(f"read archive: {what}: names what has not come before it")


def _frames(take: Callable[[int], bytes]) -> Iterator[tuple[Frame, bytes]]:
    """Frames whose checks fit, up to the end of the file."""
    check = hashlib.blake2b(MAGIC, digest_size=_CHECK_BYTES)
    if take(len(MAGIC)) != MAGIC:
        raise DamagedArchive("read archive: it is none")
    while head := take(_FRAME.size):
        kind, length = _FRAME.unpack(head) if len(head) == _FRAME.size else (0, 0)
        if kind not in _KINDS or length > _MAX_FRAME_BYTES:
            raise DamagedArchive(f"read archive: damaged, or cut off, where frame {kind} of {length} bytes should be")
        payload = take(length)
        check.update(head + payload)
        if len(payload) != length or take(_CHECK_BYTES) != check.digest():
            raise DamagedArchive(f"read archive: {Frame(kind).name.lower()} of {length} bytes: damaged, or cut off")
        yield Frame(kind), payload


def _expect(frames: Iterator[tuple[Frame, bytes]], kind: Frame) -> bytes:
    found, payload = next(frames, (None, b""))
    if found is not kind:
        raise DamagedArchive("read archive: it does not begin with a header")
    return payload


def _decode(payload: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except errors.UNREADABLE as error:
        raise DamagedArchive(f"read archive: {kind.__name__.lower()}: {error}") from error
