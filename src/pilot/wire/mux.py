"""Many streams over one byte stream (a virtio serial port): bytes ↔ events, no sockets, no clock.

The port is one pipe for ever: a new host process gets the leftovers of the old one, the guest may have been restored
from a snapshot in the middle of a frame. So a connection begins with a handshake that does not trust what is in flight:

    host                                                guest
      PAD × (one whole frame), HELLO(nonce)  ────────►  whatever frame was cut off swallows padding; then HELLO is read
      drops bytes until its own nonce comes  ◄────────  HELLO(nonce), every older stream is gone (`Restarted`)
      begins with HELLO again                ◄────────  PAD × (one whole frame), HELLO(0): the guest's process is new
      OPEN(stream, port)                     ────────►  `Opened`; answers ACCEPT or RESET
      DATA ≤ credit, CREDIT, EOF, RESET      ◄───────►  each direction ends with EOF; RESET ends both at once

A frame is `{u8 kind, u8 zero, u16 length, u32 stream}` little-endian and `length` bytes; PAD is a single zero byte.
Each side may have WINDOW bytes of DATA unconsumed per stream; `consumed` gives credit back. The host opens odd streams,
the guest even ones. A stream is forgotten when both directions have ended, or at a RESET.

This module must never block, wait or trust a length from the peer.
"""

from __future__ import annotations

import enum
import struct
from typing import TypeAlias

import msgspec

from .. import errors

HEADER = struct.Struct("<BBHI")
MAX_PAYLOAD = 32 * 1024
WINDOW = 256 * 1024
NONCE_BYTES = 16
MAX_STREAMS = 1024
_U32 = struct.Struct("<I")
# The hello begins with this text, so that a guest that lost its place can search for it.
_MAGIC = b"pilot mux 1\n"
_HELLO_BYTES = len(_MAGIC) + NONCE_BYTES
_PADDING = bytes(HEADER.size + MAX_PAYLOAD)
# The nonce of a guest that has just started: it asks the host for a hello.
_NOBODY = bytes(NONCE_BYTES)


class Role(enum.Enum):
    """Who begins: the host; the guest answers."""

    HOST = 1
    GUEST = 2


class Kind(enum.IntEnum):
    """First byte of a frame."""

    PAD = 0
    HELLO = 1
    OPEN = 2
    ACCEPT = 3
    DATA = 4
    CREDIT = 5
    EOF = 6
    RESET = 7


class Restarted(msgspec.Struct, frozen=True):
    """The handshake is done; streams from before it are gone without another word."""


class Opened(msgspec.Struct, frozen=True):
    """The peer asks for a stream to `port`: answer with `accept` or `reset`."""

    stream: int
    port: int


class Accepted(msgspec.Struct, frozen=True):
    """The peer accepted the stream that we opened."""

    stream: int


class Data(msgspec.Struct, frozen=True):
    """Bytes of a stream; call `consumed` when they are used up."""

    stream: int
    data: bytes


class Writable(msgspec.Struct, frozen=True):
    """There is credit again after `send` had taken less than it was given."""

    stream: int


class Ended(msgspec.Struct, frozen=True):
    """The peer sends nothing more on this stream."""

    stream: int


class Reset(msgspec.Struct, frozen=True):
    """The stream is gone, both ways; refusals come this way too."""

    stream: int
    reason: str


Event: TypeAlias = Restarted | Opened | Accepted | Data | Writable | Ended | Reset


class _Stream:
    """What is left to send and to receive on one stream."""

    __slots__ = ("credit", "open_in", "open_out", "starved", "unconsumed", "unreturned")

    def __init__(self) -> None:
        self.credit = WINDOW
        self.unconsumed = 0
        self.unreturned = 0
        self.open_in = True
        self.open_out = True
        self.starved = False


class Mux:
    """One end of the multiplexed byte stream.

    Feed what was read to `receive`, write what `take_output` returns. `nonce` (16 random bytes) is the host's only.
    """

    def __init__(self, role: Role, *, nonce: bytes = b"") -> None:
        if role is Role.HOST and (len(nonce) != NONCE_BYTES or nonce == _NOBODY):
            raise ValueError(f"nonce: {NONCE_BYTES} random bytes are needed")
        self._role = role
        self._streams: dict[int, _Stream] = {}
        self._input = bytearray()
        self._output = bytearray()
        self._in_step = False
        self._next_stream = 1 if role is Role.HOST else 2
        if role is Role.HOST:
            self._own_hello = _hello(nonce)
            self._expected = self._own_hello
        else:
            self._own_hello = _hello(_NOBODY)
            self._expected = self._own_hello[: HEADER.size + len(_MAGIC)]
        self._output += _PADDING + self._own_hello

    @property
    def ready(self) -> bool:
        """The handshake is done."""
        return self._in_step

    @property
    def pending_bytes(self) -> int:
        """How much `take_output` would return: stop calling `send` while this is large."""
        return len(self._output)

    @property
    def streams(self) -> frozenset[int]:
        """The streams that are open."""
        return frozenset(self._streams)

    def take_output(self) -> bytes:
        """Everything that is to be written to the port now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes) -> list[Event]:
        """What `data`, read from the port, means. A peer that breaks the protocol loses its streams, by `Restarted`."""
        self._input += data
        events: list[Event] = []
        while (self._in_step or self._find_hello()) and (frame := self._next_frame(events)) is not None:
            try:
                events += _TABLE[frame[0]](self, frame[1], frame[2])
            except errors.PeerError as error:
                events += self._fall_out_of_step(f"protocol error: {error}")
        return events

    def open(self, port: int) -> int:
        """Ask for a stream to `port`; `Accepted` or `Reset` follows. May send at once."""
        if not self._in_step:
            raise errors.PeerError("open a stream: the other side has not answered the hello yet")
        if len(self._streams) >= MAX_STREAMS:
            raise errors.Conflict(f"open a stream: {MAX_STREAMS} streams are open already")
        stream = self._next_stream
        self._next_stream += 2
        self._streams[stream] = _Stream()
        self._frame(Kind.OPEN, stream, _U32.pack(port))
        return stream

    def accept(self, stream: int) -> None:
        """Answer `Opened` with yes. Nothing happens when the stream has gone."""
        if stream in self._streams:
            self._frame(Kind.ACCEPT, stream)

    def send(self, stream: int, data: bytes | memoryview) -> int:
        """Send as much of `data` as there is credit for and say how much; `Writable` follows when it was not all."""
        state = self._streams.get(stream)
        if state is None or not state.open_out:
            raise errors.PeerError(f"send on stream {stream}: it is closed")
        view = memoryview(data)[: state.credit]
        for start in range(0, len(view), MAX_PAYLOAD):
            self._frame(Kind.DATA, stream, view[start : start + MAX_PAYLOAD])
        state.credit -= len(view)
        state.starved = len(view) < len(data)
        return len(view)

    def consumed(self, stream: int, size_bytes: int) -> None:
        """`size_bytes` of `Data` are used up: the peer may send as many again (told in larger steps)."""
        state = self._streams.get(stream)
        if state is None:
            return
        state.unconsumed -= size_bytes
        state.unreturned += size_bytes
        if state.unreturned >= WINDOW // 4 and state.open_in:
            self._frame(Kind.CREDIT, stream, _U32.pack(state.unreturned))
            state.unreturned = 0

    def end(self, stream: int) -> None:
        """Send nothing more on this stream; receiving goes on."""
        state = self._streams.get(stream)
        if state is not None and state.open_out:
            state.open_out = False
            self._frame(Kind.EOF, stream)
            self._forget_if_over(stream)

    def reset(self, stream: int, reason: str = "") -> None:
        """End the stream both ways, or refuse it."""
        if self._streams.pop(stream, None) is not None:
            self._frame(Kind.RESET, stream, reason.encode()[:1024])

    # -- bytes

    def _frame(self, kind: Kind, stream: int, payload: bytes | memoryview = b"") -> None:
        self._output += HEADER.pack(kind, 0, len(payload), stream)
        self._output += payload

    def _find_hello(self) -> bool:
        """Drop input up to the hello that is expected; for the host only one with its own nonce will do."""
        found = self._input.find(self._expected)
        if found < 0:
            keep = len(self._expected) - 1
            del self._input[: max(0, len(self._input) - keep)]
            return False
        del self._input[:found]
        return True

    def _next_frame(self, events: list[Event]) -> tuple[Kind, int, bytes] | None:
        """The next whole frame, taken off the input; padding is skipped."""
        if self._input[:1] == b"\0":
            self._input = self._input.lstrip(b"\0")
        if len(self._input) < HEADER.size:
            return None
        kind, zero, length, stream = HEADER.unpack_from(self._input)
        if kind not in _KINDS or zero or length > MAX_PAYLOAD:
            events += self._fall_out_of_step(f"protocol error: frame of kind {kind} and length {length}")
            return self._next_frame(events) if self._find_hello() else None
        if len(self._input) < HEADER.size + length:
            return None
        payload = bytes(self._input[HEADER.size : HEADER.size + length])
        del self._input[: HEADER.size + length]
        return Kind(kind), stream, payload

    def _fall_out_of_step(self, why: str) -> list[Event]:
        """All streams are lost; nothing is believed until the next hello."""
        lost: list[Event] = [Reset(stream, why) for stream in self._streams]
        self._streams.clear()
        self._in_step = False
        return lost

    # -- frames

    def _on_hello(self, _stream: int, payload: bytes) -> list[Event]:
        if len(payload) != _HELLO_BYTES or not payload.startswith(_MAGIC):
            raise errors.PeerError("a hello of another protocol version")
        if self._role is Role.HOST and payload[len(_MAGIC) :] == _NOBODY:
            lost = self._fall_out_of_step("the guest began anew")
            self._output += _PADDING + self._own_hello
            return lost
        lost = self._fall_out_of_step("the host began anew")
        self._in_step = True
        if self._role is Role.GUEST:
            # What was queued for the former host process must not reach the new one ahead of the hello.
            self._output.clear()
            self._output += _hello(payload[len(_MAGIC) :])
        return [*lost, Restarted()]

    def _on_open(self, stream: int, payload: bytes) -> list[Event]:
        theirs = 0 if self._role is Role.HOST else 1
        if stream in self._streams or stream % 2 != theirs or len(payload) != _U32.size:
            raise errors.PeerError(f"open of stream {stream}")
        if len(self._streams) >= MAX_STREAMS:
            self._frame(Kind.RESET, stream, b"too many streams")
            return []
        self._streams[stream] = _Stream()
        return [Opened(stream, _U32.unpack(payload)[0])]

    def _on_accept(self, stream: int, _payload: bytes) -> list[Event]:
        return [Accepted(stream)] if stream in self._streams else []

    def _on_data(self, stream: int, payload: bytes) -> list[Event]:
        state = self._streams.get(stream)
        if state is None:
            # We reset it a moment ago; the peer did not know yet.
            return []
        state.unconsumed += len(payload)
        if not state.open_in or state.unconsumed + state.unreturned > WINDOW:
            raise errors.PeerError(f"data on stream {stream} beyond its window or its end")
        return [Data(stream, payload)]

    def _on_credit(self, stream: int, payload: bytes) -> list[Event]:
        state = self._streams.get(stream)
        if state is None:
            return []
        state.credit += _U32.unpack(payload)[0] if len(payload) == _U32.size else WINDOW + 1
        if state.credit > WINDOW:
            raise errors.PeerError(f"credit on stream {stream} beyond its window")
        starved, state.starved = state.starved, False
        return [Writable(stream)] if starved and state.open_out else []

    def _on_eof(self, stream: int, _payload: bytes) -> list[Event]:
        state = self._streams.get(stream)
        if state is None or not state.open_in:
            return []
        state.open_in = False
        self._forget_if_over(stream)
        return [Ended(stream)]

    def _on_reset(self, stream: int, payload: bytes) -> list[Event]:
        if self._streams.pop(stream, None) is None:
            return []
        return [Reset(stream, payload.decode(errors="replace"))]

    def _forget_if_over(self, stream: int) -> None:
        state = self._streams[stream]
        if not state.open_in and not state.open_out:
            del self._streams[stream]


def _hello(nonce: bytes) -> bytes:
    return HEADER.pack(Kind.HELLO, 0, _HELLO_BYTES, 0) + _MAGIC + nonce


_TABLE = {
    Kind.HELLO: Mux._on_hello,
    Kind.OPEN: Mux._on_open,
    Kind.ACCEPT: Mux._on_accept,
    Kind.DATA: Mux._on_data,
    Kind.CREDIT: Mux._on_credit,
    Kind.EOF: Mux._on_eof,
    Kind.RESET: Mux._on_reset,
}
_KINDS = frozenset(_TABLE)
