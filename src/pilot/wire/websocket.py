"""WebSocket after the HTTP upgrade: bytes ↔ whole messages, on top of wsproto. No sockets, no clock.

The handshake is HTTP's business (`accept_headers`, `request_headers`); `WebSocket` begins with the first byte after it.
Pings are answered in `take_output`; pongs are never waited for, because sprites-go does not send any. Extensions are
declined. A message above `max_message_bytes` closes the connection with 1009. Much output goes beside wsproto (`bulk`).
"""

from __future__ import annotations

import base64
import enum
import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
from wsproto import connection, events, utilities

from .. import errors
from . import bulk, faults

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
CLOSE_NORMAL = 1000
CLOSE_ABNORMAL = 1006
CLOSE_TOO_BIG = 1009
CLOSE_INTERNAL = 1011


class Side(enum.Enum):
    """Clients mask what they send."""

    CLIENT = connection.ConnectionType.CLIENT
    SERVER = connection.ConnectionType.SERVER


class Closed(msgspec.Struct, frozen=True):
    """The last event: the peer closed, or went away (1006)."""

    code: int
    reason: str = ""


Event: TypeAlias = str | bytes | Closed


def _accept_key(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def want_upgrade(headers: Mapping[str, str]) -> bool:
    """Whether these (lower-case) request headers ask for a WebSocket."""
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    return "upgrade" in tokens and headers.get("upgrade", "").lower() == "websocket"


def accept_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Headers of the 101 answer; `InvalidRequest` when the request is not a WebSocket handshake of version 13."""
    key = headers.get("sec-websocket-key", "")
    if not want_upgrade(headers) or headers.get("sec-websocket-version") != "13" or not key:
        raise faults.InvalidRequest("upgrade: not a WebSocket handshake of version 13")
    return [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", _accept_key(key))]


def request_headers(key: bytes) -> list[tuple[str, str]]:
    """Headers of a client's handshake; `key` is 16 random bytes."""
    encoded = base64.b64encode(key).decode()
    return [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", encoded),
    ]


def check_accepted(key: bytes, headers: Mapping[str, str]) -> None:
    """`PeerError` when the 101 answer does not belong to our `key`."""
    if headers.get("sec-websocket-accept") != _accept_key(base64.b64encode(key).decode()):
        raise errors.PeerError("upgrade: the server's Sec-WebSocket-Accept does not fit our key")


class WebSocket:
    """One end of an open WebSocket. Write what `take_output` returns after every call."""

    def __init__(self, side: Side, *, trailing: bytes = b"", max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._connection = connection.Connection(side.value)
        self._cutter = bulk.Cutter(max_message_bytes) if side is Side.CLIENT else None
        self._early = trailing
        self._limit = max_message_bytes
        self._parts: list[str | bytes] = []
        self._parts_bytes = 0
        self._output = bytearray()
        self._closed = False
        self._over = False  # the peer says nothing more that anybody hears

    @property
    def closed(self) -> bool:
        """`Closed` has been given, or `close` was called: nothing can be sent."""
        return self._closed

    def take_output(self) -> bytes:
        """Everything that is to be written to the connection now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes) -> list[Event]:
        """Messages and the close in what was read; `b""` says that the connection ended."""
        if self._cutter is None or self._over or not data:
            return self._parse(data)
        found: list[Event] = []
        for piece in self._cutter.cut(data):
            found += self._parse(piece.data) if isinstance(piece, bulk.Other) else [piece]
            if self._over:
                break
        return found

    def receive_pending(self) -> list[Event]:
        """Messages in the bytes that came together with the handshake."""
        early, self._early = self._early, b""
        return self.receive(early) if early else []

    def _parse(self, data: bytes) -> list[Event]:
        found: list[Event] = []
        try:
            self._connection.receive_data(data or None)
            for event in self._connection.events():
                found += self._on_event(event)
        except utilities.ProtocolError:
            # A frame that arrives after the close: there is nobody to tell.
            self._closed = self._over = True
        return found

    def send(self, message: str | bytes) -> None:
        """Queue one message; `PeerError` when the peer has closed."""
        if self._closed:
            raise errors.PeerError("websocket: the other side has closed")
        event: events.Event = (
            events.BytesMessage(message) if isinstance(message, bytes) else events.TextMessage(message)
        )
        self._output += self._connection.send(event)

    def close(self, code: int, reason: str = "") -> None:
        """Queue a close frame; nothing happens when it is closed already."""
        if self._closed:
            return
        self._closed = True
        try:
            self._output += self._connection.send(events.CloseConnection(code=code, reason=reason[:100]))
        except utilities.LocalProtocolError:
            # The connection was lost first; a close frame has no reader.
            pass

    def _on_event(self, event: events.Event) -> Sequence[Event]:
        if isinstance(event, events.Ping):
            self._output += self._connection.send(event.response())
            return ()
        if isinstance(event, events.CloseConnection):
            return self._on_close(event)
        if isinstance(event, events.TextMessage | events.BytesMessage):
            return self._on_part(event)
        return ()

    def _on_close(self, event: events.CloseConnection) -> Sequence[Event]:
        self._over = True
        answer = not self._closed and self._connection.state is connection.ConnectionState.REMOTE_CLOSING
        self._closed = True
        if answer:
            self._output += self._connection.send(event.response())
        return (Closed(int(event.code), event.reason or ""),)

    def _on_part(self, event: events.TextMessage | events.BytesMessage) -> Sequence[Event]:
        part = event.data if isinstance(event.data, str) else bytes(event.data)
        self._parts_bytes += len(part)
        if self._parts_bytes > self._limit:
            self.close(CLOSE_TOO_BIG, "message too big")
            return (Closed(CLOSE_TOO_BIG, "message too big"),)
        self._parts.append(part)
        if not event.message_finished:
            return ()
        parts, self._parts, self._parts_bytes = self._parts, [], 0
        return (_joined(parts),)


def _joined(parts: Sequence[str | bytes]) -> str | bytes:
    """One message of its parts, which are all of one type."""
    if len(parts) == 1:
        return parts[0]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if texts else b"".join(part for part in parts if isinstance(part, bytes))
