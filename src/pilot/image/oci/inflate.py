"""A layer's bytes as they are stored → the tar that they are, asked for piece by piece: a bomb goes off in no memory.

What it is compressed with is read from its first bytes. eStargz is gzip of many members, zstd:chunked is zstd with
skippable frames: both are read as what they are, their tables of contents are not looked at.
"""

from __future__ import annotations

import io
import zlib

import zstandard

from ... import errors
from .tarstream import Readable

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_INPUT = 1 << 16
# What `zstd --ultra -22` asks for; a frame can ask for gigabytes.
_WINDOW = 1 << 27


def tar_of(stored: Readable) -> Readable:
    """The uncompressed stream; SpecError while it is read, when it is damaged or cut off."""
    first = _first(stored)
    source = _Rest(first, stored)
    if first[:2] == _GZIP:
        return _Gzip(source)
    if first == _ZSTD or _is_skippable(first):
        return _Zstd(source)
    return source


def _first(stored: Readable) -> bytes:
    found = b""
    while len(found) < 4 and (part := stored.read(4 - len(found))):
        found += part
    return found


def _is_skippable(first: bytes) -> bool:
    return len(first) == 4 and first[1:] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50


class _Rest:
    """A stream of which the first bytes were looked at."""

    def __init__(self, first: bytes, stored: Readable) -> None:
        self._first = first
        self._stored = stored

    def read(self, size: int, /) -> bytes:
        if self._first:
            part, self._first = self._first[:size], self._first[size:]
            return part
        return self._stored.read(size)


class _Gzip:
    """Of one member or several."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._member = zlib.decompressobj(31)
        self._pending = b""

    def read(self, size: int, /) -> bytes:
        while True:
            if self._member.eof and not self._next_member():
                return b""
            fresh = self._pending or self._source.read(_INPUT)
            if not fresh:
                raise errors.SpecError("gzip", "it is cut off")
            try:
                part = self._member.decompress(fresh, size)
            except zlib.error as error:
                raise errors.SpecError("gzip", f"it is damaged: {error}") from error
            self._pending = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if part:
                return part

    def _next_member(self) -> bool:
        self._pending = self._pending or self._source.read(_INPUT)
        self._member = zlib.decompressobj(31)
        return bool(self._pending)


class _Zstd:
    """Of one frame or several."""

    def __init__(self, source: Readable) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._stream = decompressor.stream_reader(_Raw(source), read_size=_INPUT, read_across_frames=True)

    def read(self, size: int, /) -> bytes:
        try:
            return self._stream.read(size)
        except zstandard.ZstdError as error:
            raise errors.SpecError("zstd", f"it is damaged: {error}") from error


class _Raw(io.BytesIO):
    """What zstandard reads from: a file as its types want it, of which `read` alone is called."""

    def __init__(self, source: Readable) -> None:
        super().__init__()
        self._source = source

    def read(self, size: int | None = -1, /) -> bytes:
        return self._source.read(size or _INPUT)
