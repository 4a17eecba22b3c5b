"""Protocols inside HTTP's connections and beside them: the mux of a virtual machine's port, WebSockets, exec frames."""

from __future__ import annotations

import contextlib

from pilot import errors
from pilot.planner import messages
from pilot.wire import exec_frames, mux, websocket
from tests.fuzz.target import Choices, Target

_NONCE = bytes(range(1, 17))


def _mux(role: mux.Role, data: bytes) -> None:
    """A peer that says what it likes, while we open, send, consume and end."""
    choices = Choices(data)
    ours = mux.Mux(role, nonce=_NONCE) if role is mux.Role.HOST else mux.Mux(role)
    ours.receive(ours.take_output() if role is mux.Role.HOST else _hello(_NONCE))
    for piece in choices.split(choices.left):
        for event in ours.receive(piece):
            _answer(ours, event, choices.number(4))
        assert len(ours.streams) <= mux.MAX_STREAMS
        with contextlib.suppress(errors.PeerError, errors.Conflict):
            ours.send(ours.open(80), bytes(choices.number(1000)))
        ours.take_output()


def _answer(ours: mux.Mux, event: mux.Event, choice: int) -> None:
    match event:
        case mux.Opened(number, _):
            ours.accept(number) if choice else ours.reset(number, "no")
        case mux.Data(number, data):
            ours.consumed(number, len(data))
            with contextlib.suppress(errors.PeerError):
                ours.send(number, data)
        case mux.Ended(number) if choice:
            ours.end(number)
        case _:
            pass


def _hello(nonce: bytes) -> bytes:
    return mux.HEADER.pack(mux.Kind.HELLO, 0, 28, 0) + b"pilot mux 1\n" + nonce


def _frame(kind: mux.Kind, stream: int, payload: bytes = b"") -> bytes:
    return mux.HEADER.pack(kind, 0, len(payload), stream) + payload


def _websocket(side: websocket.Side, data: bytes) -> None:
    """In pieces it is what it is at once; and there is an end to what we say to it."""
    found = _received(side, [data])
    choices = Choices(data[-16:])
    assert _received(side, list(choices.split(data))) == found


def _received(side: websocket.Side, pieces: list[bytes]) -> list[str | bytes | int]:
    """Messages, and the code of the close; its reason may speak of a place in a piece."""
    socket, said = websocket.WebSocket(side, max_message_bytes=512), 0
    events: list[websocket.Event] = []
    for piece in pieces:
        if piece and not socket.closed:
            events += socket.receive(piece)
        said += len(socket.take_output())
    assert said <= 2 * sum(map(len, pieces)) + 256
    socket.close(1000, "x" * 200)
    return [event.code if isinstance(event, websocket.Closed) else event for event in events]


def _exec(data: bytes) -> None:
    tty, text, body = data[:1] == b"t", data[1:2] == b"t", data[2:]
    message = body.decode("utf-8", "replace") if text else body
    exec_frames.parse_client_message(message, tty=tty)
    exec_frames.parse_server_message(message, tty=tty)


def _planner(data: bytes) -> None:
    report = messages.parse_report(data)
    if report.kind is messages.Kind.REQUEST:
        messages.parse_request(report)


_OPENED = _frame(mux.Kind.OPEN, 2, b"\x50\0\0\0") + _frame(mux.Kind.DATA, 2, b"abc")
_ASKED = _frame(mux.Kind.OPEN, 1, b"\x50\0\0\0") + _frame(mux.Kind.DATA, 1, b"abc") + _frame(mux.Kind.EOF, 1)
_MASKED = b"\x81\x83\0\0\0\0abc" + b"\x89\x80\0\0\0\0" + b"\x88\x82\0\0\0\0\x03\xe8"
_NESTED = b'-t{"type": "resize", "x": ' + b"[" * 10_000
TARGETS = {
    "mux-host": Target(
        lambda data: _mux(mux.Role.HOST, data), (),
        (_OPENED + _frame(mux.Kind.CREDIT, 1, b"\1\0\0\0"), _hello(bytes(16)) + _hello(_NONCE), _hello(_NONCE) * 3),
    ),
    "mux-guest": Target(
        lambda data: _mux(mux.Role.GUEST, data), (), (_ASKED, _hello(_NONCE) + _frame(mux.Kind.RESET, 1), b"\0" * 9),
    ),
    "websocket-server": Target(lambda data: _websocket(websocket.Side.SERVER, data), (), (_MASKED, _MASKED[:9] * 3)),
    "websocket-client": Target(
        lambda data: _websocket(websocket.Side.CLIENT, data), (), (b"\x81\x03abc\x88\x02\x03\xe8", b"\x02\x01a\x80\0"),
    ),
    "exec-frames": Target(
        _exec, (),
        (b"-t" + b'{"type": "resize", "cols": 80, "rows": 24}', b"-t" + b'{"type": "exit", "exit_code": 3}',
         _NESTED, b"--\0input", b"tt" + b'{"type": "signal", "signal": "INT"}'),
    ),
    "planner": Target(
        _planner, (errors.PeerError,), (b"\x10\0\0\0\1\0\0\0" + bytes(8) + b"digest\0run\0A=b\0",),
    ),
}  # fmt: skip
