"""The Sprites exec protocol: a session's output as frames, a client's frames as wishes. No sockets, no clock.

    server → client                                        framing: STREAMS       TERMINAL            HTTP
      session_info (text)        first, on create and attach   yes               yes                 –
      output                                                   byte + payload    payload             byte + payload
      output_dropped (text)      before the output, if so      yes               yes                 –
      keepalive (text)           any time between              yes               yes                 –
      exit (text)                after the end of ALL output   yes               yes                 –
      exit (binary 03 code)      right after it                yes               –                   yes
      close                      at once                       1000              1000, or 4000+code  end of body
      close instead              of a quiet terminal           –                 1001, and why       –

The order is what official clients force: sprites-py and sprites-go stop reading at the first exit of either kind, and
@fly/sprites takes a terminal's exit status from the close code. `ExecOutput` holds an exit back until every stream
has ended, so no caller can get the order wrong.

    client → server: 00 data (stdin), 04 (end of stdin); in a terminal bytes are bytes. Text: resize, signal.

A client's frame that is not understood is ignored, never an error: the protocol grows by new types.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from .. import errors

MAX_PAYLOAD = 32 * 1024
HTTP_PAUSE_S = 0.005
# In the answer to a handshake: signals are taken.
SIGNAL_HEADER = ("X-Sprite-Capabilities", "signal")
CLOSE_NORMAL = 1000
CLOSE_DETACHED = 1001  # the session lives on; the reason says so
_CLOSE_EXIT_BASE = 4000


class Stream(enum.IntEnum):
    """The stream byte; a terminal's output counts as STDOUT."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    EXIT = 3
    STDIN_EOF = 4


class Framing(enum.Enum):
    """Who listens: a WebSocket without or with a terminal, or the body of an HTTP answer."""

    STREAMS = enum.auto()
    TERMINAL = enum.auto()
    HTTP = enum.auto()


def http_pause_s(before: bytes, frame: bytes) -> float:
    """How long after one frame the next may be sent with HTTP's framing.

    It has no length: a client that does not look at chunks sees where a frame ends only when each is a read of its own.
    Two that are full come to nobody in one read.
    """
    return 0.0 if min(len(before), len(frame)) > MAX_PAYLOAD else HTTP_PAUSE_S


class Close(msgspec.Struct, frozen=True):
    """The connection ends now, with this WebSocket close code."""

    code: int


Frame: TypeAlias = str | bytes | Close


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="session_info"):
    """First text frame. `created` is in Unix seconds; `tty` must be there (sprites-py takes its mode from it)."""

    session_id: str
    command: str
    created: int
    cols: int
    rows: int
    is_owner: bool
    tty: bool


class Exit(msgspec.Struct, frozen=True, tag_field="type", tag="exit"):
    """Text frame: the exit status, 128 + n for signal n."""

    exit_code: int


class OutputDropped(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="output_dropped"):
    """Text frame: what the session wrote while nobody listened was more than is kept; so many bytes are gone."""

    stream: str
    bytes: int


class Keepalive(msgspec.Struct, frozen=True, tag_field="type", tag="keepalive"):
    """Text frame that means nothing: @fly/sprites gives up after 45 s without a message."""


class PortChange(msgspec.Struct, frozen=True, kw_only=True):
    """Text frame: something in the machine began or ceased to listen; `type` is port_opened or port_closed."""

    type: str
    port: int
    address: str
    pid: int


class Stdin(msgspec.Struct, frozen=True):
    """Bytes for the process."""

    data: bytes


class StdinEof(msgspec.Struct, frozen=True):
    """The client has no more input."""


class Resize(msgspec.Struct, frozen=True, tag_field="type", tag="resize"):
    """The client's terminal has another size."""

    cols: int
    rows: int


class Signal(msgspec.Struct, frozen=True, tag_field="type", tag="signal"):
    """The client wants the process to get this signal: `INT` or `SIGINT`."""

    signal: str


ClientEvent: TypeAlias = Stdin | StdinEof | Resize | Signal

_encode = msgspec.json.Encoder().encode
_client_text: msgspec.json.Decoder[Resize | Signal] = msgspec.json.Decoder(Resize | Signal)
_server_text: msgspec.json.Decoder[SessionInfo | OutputDropped | Exit | Keepalive] = msgspec.json.Decoder(
    SessionInfo | OutputDropped | Exit | Keepalive
)


def text(message: msgspec.Struct) -> str:
    """The text frame of one of the messages above."""
    return _encode(message).decode()


KEEPALIVE = text(Keepalive())


class _State(enum.Enum):
    NEW = enum.auto()
    OPEN = enum.auto()
    DONE = enum.auto()


class ExecOutput:
    """The server's half: what a session does, as frames in an order that every client understands."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._state = _State.NEW if framing is not Framing.HTTP else _State.OPEN
        self._open = {Stream.STDOUT} if framing is Framing.TERMINAL else {Stream.STDOUT, Stream.STDERR}
        self._exit_code: int | None = None

    @property
    def done(self) -> bool:
        """The exit has been said; nothing may follow."""
        return self._state is _State.DONE

    def begin(self, info: SessionInfo) -> list[Frame]:
        """The session is there. Must come first."""
        self._require(_State.NEW, "begin")
        self._state = _State.OPEN
        return [text(info)]

    def dropped(self, stream: Stream, count: int) -> list[Frame]:
        """So many bytes of `stream` are not there any more, where the framing has room to say it."""
        if not count or self._framing is Framing.HTTP:
            return []
        return [text(OutputDropped(stream=stream.name.lower(), bytes=count))]

    def keepalive(self) -> list[Frame]:
        """A sign of life, where the framing has room for one."""
        return [KEEPALIVE] if self._state is _State.OPEN and self._framing is not Framing.HTTP else []

    def output(self, stream: Stream, data: bytes) -> list[Frame]:
        """Bytes of `stream`, cut to frames that every client takes."""
        prefix = self.prefix(stream)
        return [prefix + data[start : start + MAX_PAYLOAD] for start in range(0, len(data), MAX_PAYLOAD)]

    def prefix(self, stream: Stream) -> bytes:
        """What each frame with bytes of `stream`, of which more may come now, begins with."""
        self._require(_State.OPEN, "output")
        if stream not in self._open:
            raise ValueError(f"output on {stream.name} after its end")
        return b"" if self._framing is Framing.TERMINAL else bytes([stream])

    def ended(self, stream: Stream) -> list[Frame]:
        """`stream` has no more bytes; the exit follows if it was waiting for that."""
        self._require(_State.OPEN, "end")
        self._open.discard(stream)
        return self._exit_if_due()

    def exited(self, code: int) -> list[Frame]:
        """The process is over; the first code counts. The exit follows when all output is out."""
        self._require(_State.OPEN, "exit")
        if self._exit_code is None:
            self._exit_code = code & 0xFF
        return self._exit_if_due()

    def _exit_if_due(self) -> list[Frame]:
        if self._open or self._exit_code is None:
            return []
        self._state = _State.DONE
        return _EXIT_FRAMES[self._framing](self._exit_code)

    def _require(self, state: _State, what: str) -> None:
        if self._state is not state:
            raise ValueError(f"exec: {what} in state {self._state.name}")


_EXIT_FRAMES: dict[Framing, Callable[[int], list[Frame]]] = {
    Framing.STREAMS: lambda code: [text(Exit(code)), bytes([Stream.EXIT, code]), Close(CLOSE_NORMAL)],
    Framing.TERMINAL: lambda code: [text(Exit(code)), Close(_CLOSE_EXIT_BASE + code if code else CLOSE_NORMAL)],
    Framing.HTTP: lambda code: [bytes([Stream.EXIT, code]), Close(CLOSE_NORMAL)],
}


def parse_client_message(message: str | bytes, *, tty: bool) -> ClientEvent | None:
    """What a client's message asks for; None for what we do not know."""
    if isinstance(message, str):
        return _parse_text(message)
    if tty:
        return Stdin(message)
    if message[:1] == bytes([Stream.STDIN]):
        return Stdin(message[1:])
    return StdinEof() if message[:1] == bytes([Stream.STDIN_EOF]) else None


def _parse_text(message: str) -> Resize | Signal | None:
    try:
        return _client_text.decode(message)
    except errors.UNREADABLE:
        # Another type, or not JSON: clients and servers ignore what they do not know.
        return None


class Output(msgspec.Struct, frozen=True):
    """Client's side: bytes that the process wrote."""

    stream: Stream
    data: bytes


ServerEvent: TypeAlias = SessionInfo | OutputDropped | Output | Exit | Keepalive


def parse_server_message(message: str | bytes, *, tty: bool) -> ServerEvent | None:
    """Client's side: what the server's message says; None for what we do not know."""
    if isinstance(message, str):
        try:
            return _server_text.decode(message)
        except errors.UNREADABLE:
            # As above: newer servers may say more.
            return None
    if tty:
        return Output(Stream.STDOUT, message)
    if message[:1] in {b"\x01", b"\x02"}:
        return Output(Stream(message[0]), message[1:])
    return Exit(message[1]) if message[:1] == b"\x03" and len(message) > 1 else None


def stdin_message(data: bytes, *, tty: bool) -> bytes:
    """Client's side: input for the process (in a terminal its bytes as they are)."""
    return data if tty else bytes([Stream.STDIN]) + data


STDIN_EOF_MESSAGE = bytes([Stream.STDIN_EOF])
