"""What a service has said as the text of a file: lines with their times, the last of them.

    pieces, as they are kept ─► the line that each stream has begun ─► whole lines, the last MOST_BYTES of them

Of a line that is longer than a file the end is kept. Whatever the pieces are, what is held is a few MOST_BYTES, and
each byte is moved a few times.
"""

from __future__ import annotations

import codecs
import dataclasses
from collections import deque
from collections.abc import Iterable

from ..wire.graph import LogPiece, Output
from .graph.log import STREAMS

MOST_BYTES = 1 << 20
_CONTINUES, _CONTINUED = 0xC0, 0x80


@dataclasses.dataclass
class _Line:
    """That a stream has begun: the time of its first byte, and its last MOST_BYTES or more."""

    time: str = ""
    parts: deque[bytes] = dataclasses.field(default_factory=deque)
    size: int = 0

    def add(self, time: str, part: bytes) -> None:
        if not part:
            return
        self.time = self.time or time
        self.parts.append(part)
        self.size += len(part)
        while self.size - len(self.parts[0]) > MOST_BYTES:
            self.size -= len(self.parts.popleft())


class LogText:
    """Of one log."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._begun = {stream: _Line() for stream in STREAMS}
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in STREAMS}

    def add(self, pieces: Iterable[LogPiece]) -> None:
        """In their order."""
        for piece in pieces:
            data = self._decoders[piece.stream].decode(piece.data).encode()
            *ends, rest = data.split(b"\n")
            for end in ends:
                self._end_line(piece.stream, piece.time, end)
            self._begun[piece.stream].add(piece.time, rest)

    def end(self) -> bytes:
        """All of it: the end of a stream need be no end of a line."""
        for stream, line in self._begun.items():
            if line.size:
                self._end_line(stream, line.time, b"")
        self._shorten()
        return bytes(self._text)

    def _end_line(self, stream: Output, time: str, end: bytes) -> None:
        line = self._begun[stream]
        line.add(time, end)
        self._begun[stream] = _Line()
        before = f"{line.time or time} {'[stderr] ' if stream == 'stderr' else ''}".encode()
        self._text += before + _end_of(b"".join(line.parts), MOST_BYTES - len(before) - 1) + b"\n"
        if len(self._text) > 2 * MOST_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        """The last MOST_BYTES, whole lines; no line is longer."""
        if len(self._text) > MOST_BYTES:
            del self._text[: self._text.index(b"\n", len(self._text) - MOST_BYTES - 1) + 1]


def _end_of(data: bytes, size: int) -> bytes:
    """No more than the last `size` bytes, whole characters."""
    if len(data) <= size:
        return data
    start = len(data) - size
    while start < len(data) and data[start] & _CONTINUES == _CONTINUED:
        start += 1
    return data[start:]
