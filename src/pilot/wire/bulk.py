"""WebSocket frames of much output: whole messages of bytes, made and read where they lie.

For what a server sends (RFC 6455, 5.2: unmasked). A `Block` has the heads of messages in place, so that what is read
into it from a file can be written to a socket at once; a `Cutter` takes such messages out of what has come. All else,
text, control frames, messages in parts, masked ones, is wsproto's (`websocket`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

MOST_BYTES = 256 << 10  # of a message that is taken here; a longer one goes on as it comes
_WHOLE_BYTES = 0x82  # FIN, binary, nothing reserved
_FIN, _MASKED = 0x80, 0x80
_OPCODE, _FIRST_CONTROL = 0x0F, 8
_SIZES = {126: struct.Struct("!H"), 127: struct.Struct("!Q")}
_MASK_BYTES = 4


class Block:
    """`rooms` for the payloads of several messages of one size. One that was sent may be filled again."""

    def __init__(self, prefix: bytes, payload_bytes: int, count: int) -> None:
        """`prefix` begins each message, before its payload."""
        before = head(len(prefix) + payload_bytes) + prefix
        self._step = len(before) + payload_bytes
        self._whole = memoryview(bytearray((before + bytes(payload_bytes)) * count))
        starts = range(len(before), len(self._whole), self._step)
        self.rooms = [self._whole[start : start + payload_bytes] for start in starts]

    def filled(self, count: int) -> memoryview:
        """The first `count` messages, with their heads."""
        return self._whole[: count * self._step]


def head(size_bytes: int) -> bytes:
    """Of a frame that is a whole message of so many bytes."""
    if size_bytes < 126:
        return bytes([_WHOLE_BYTES, size_bytes])
    code = 126 if size_bytes < 1 << 16 else 127
    return bytes([_WHOLE_BYTES, code]) + _SIZES[code].pack(size_bytes)


class Other(msgspec.Struct, frozen=True):
    """Bytes for a parser of frames: the next ones that it gets."""

    data: bytes


class Cutter:
    """Takes whole messages of bytes out of a stream of frames; what it does not know it leaves to the other parser."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = min(most_bytes, MOST_BYTES)
        self._rest = b""
        self._passing = 0  # bytes of the frame that has begun, and is the other's
        self._in_parts = False  # the other has the beginning of a message

    def cut(self, data: bytes) -> Iterator[bytes | Other]:
        """Messages, and what is to be given to the other parser, in their order."""
        data, self._rest = self._rest + data, b""
        place = 0
        while place < len(data):
            if not self._passing:
                frame = _head_at(data, place)
                if frame is None:
                    break
                begin, end = place + frame.head_bytes, place + frame.head_bytes + frame.payload_bytes
                if self._takes(frame):
                    if end > len(data):
                        break
                    yield data[begin:end]
                    place = end
                    continue
                if frame.first & _OPCODE < _FIRST_CONTROL:
                    self._in_parts = not frame.first & _FIN
                self._passing = end - place
            piece = data[place : place + self._passing]
            self._passing -= len(piece)
            place += len(piece)
            yield Other(piece)
        self._rest = data[place:]

    def _takes(self, frame: _Head) -> bool:
        return (
            frame.first == _WHOLE_BYTES
            and not frame.masked
            and not self._in_parts
            and frame.payload_bytes <= self._most_bytes
        )


class _Head(msgspec.Struct, frozen=True):
    first: int
    masked: bool
    head_bytes: int
    payload_bytes: int


def _head_at(data: bytes, place: int) -> _Head | None:
    """None when it is not whole yet."""
    if len(data) < place + 2:
        return None
    code, masked = data[place + 1] & 0x7F, bool(data[place + 1] & _MASKED)
    size = _SIZES.get(code)
    head_bytes = 2 + (size.size if size else 0) + (_MASK_BYTES if masked else 0)
    if len(data) < place + head_bytes:
        return None
    payload_bytes = size.unpack_from(data, place + 2)[0] if size else code
    return _Head(data[place], masked, head_bytes, payload_bytes)
