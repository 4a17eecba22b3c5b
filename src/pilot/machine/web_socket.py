"""A WebSocket to a machine, blocking: each wait ends by a deadline, whatever the machine sends."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from types import TracebackType

import h11

from .. import errors
from ..wire import dial as lines
from ..wire import websocket
from . import dial, exchange


class Refused(errors.PilotError):
    """The machine answered the handshake as an ordinary request; `answer` says why."""

    def __init__(self, target: str, answer: exchange.Answer) -> None:
        super().__init__(f"websocket {target}: answer {answer.status} where 101 is meant")
        self.answer = answer


class Socket:
    """An open WebSocket; leave it (`with`) to end the connection."""

    def __init__(self, stream: socket.socket, protocol: websocket.WebSocket, timeout_s: float) -> None:
        self._stream = stream
        self._protocol = protocol
        self._timeout_s = timeout_s
        self._events = protocol.receive_pending()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def receive(self) -> websocket.Event:
        """The next message, or `Closed`. `TimeoutError`, or `PeerError` for what is no WebSocket."""
        end_s = time.monotonic() + self._timeout_s
        while not self._events:
            if self._protocol.closed:
                raise errors.PeerError("websocket: what came is no frame")
            self._stream.settimeout(exchange.left_s(end_s))
            data = self._stream.recv(exchange.READ_BYTES)
            self._events += self._protocol.receive(data)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._flush()  # to a peer that has gone: what it said before counts, then the next look tells
            if not data and not self._events:
                return websocket.Closed(websocket.CLOSE_ABNORMAL)
        return self._events.pop(0)

    def send(self, message: str | bytes) -> None:
        """`PeerError` when the machine has closed."""
        self._protocol.send(message)
        self._flush()

    def _flush(self) -> None:
        if output := self._protocol.take_output():
            self._stream.settimeout(self._timeout_s)
            self._stream.sendall(output)


def open_socket(path: str, target: str, timeout_s: float) -> Socket:
    """Dial and upgrade; `Refused` for any other answer than 101. Else as `exchange.exchange`."""
    end_s = time.monotonic() + timeout_s
    stream = dial.connect(path, lines.PORT_API, timeout_s)
    try:
        return Socket(stream, _upgrade(stream, target, end_s), timeout_s)
    except BaseException:
        stream.close()
        raise


def _upgrade(stream: socket.socket, target: str, end_s: float) -> websocket.WebSocket:
    protocol, key = h11.Connection(h11.CLIENT), os.urandom(16)
    headers = [("Host", exchange.HOST), *websocket.request_headers(key)]
    head = h11.Request(method="GET", target=target, headers=headers)
    stream.sendall((protocol.send(head) or b"") + (protocol.send(h11.EndOfMessage()) or b""))
    event = exchange.next_event(stream, protocol, end_s)
    if isinstance(event, h11.Response):
        raise Refused(target, exchange.read_body(stream, protocol, end_s, event))
    if not isinstance(event, h11.InformationalResponse) or event.status_code != 101:
        raise errors.PeerError(f"websocket {target}: no answer to the handshake")
    websocket.check_accepted(key, exchange.headers_of(event))
    trailing, _ = protocol.trailing_data
    return websocket.WebSocket(websocket.Side.CLIENT, trailing=trailing)
