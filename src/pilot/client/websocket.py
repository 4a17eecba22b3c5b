"""A WebSocket to the server (RFC 6455), for a loop that polls: bytes in, messages out, nothing waits but `send`.

first byte   FIN · opcode      second   MASK · length (126: 2 bytes follow, 127: 8)      client → server is masked
"""

from __future__ import annotations

import binascii
import os
import struct

from .. import errors
from . import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from .account import Account

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
NORMAL = 1000
ABNORMAL = 1006
MAX_MESSAGE_BYTES = 64 << 20
PIECE_BYTES = 1 << 18


class Refused(errors.PilotError):
    """The server answered the handshake as an ordinary request."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(str(http.refusal(status, body)))
        self.status = status
        self.body = body


class WebSocket:
    """For a poll of `fileno`: readable, and writable while `wants_write`. `close_code` is there when it is over."""

    def __init__(self, stream: socket.socket, rest: bytes) -> None:
        stream.setblocking(False)
        self._stream = stream
        self._buffer = bytearray(rest)
        self._outgoing = bytearray()
        self._parts = bytearray()
        self._opcode = 0
        self.close_code: int | None = None
        self.close_reason = ""  # where the server says one

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()

    @property
    def has_pending(self) -> bool:
        """Messages came together with the handshake, or are in TLS's buffer: no poll tells of them."""
        pending = getattr(self._stream, "pending", None)
        return self._is_whole() or bool(pending and pending())

    @property
    def wants_write(self) -> bool:
        return bool(self._outgoing)

    @property
    def backlog_bytes(self) -> int:
        """Queued, and not taken yet."""
        return len(self._outgoing)

    def send(self, message: str | bytes) -> None:
        """Queue it, and send what is taken at once."""
        if isinstance(message, str):
            self._frame(TEXT, message.encode())
        else:
            self._frame(BINARY, message)
        self.flush()

    def flush(self) -> None:
        """Send what is taken now. `PeerError` when the connection is gone."""
        try:
            while self._outgoing:
                del self._outgoing[: self._stream.send(self._outgoing[:PIECE_BYTES])]
        except OSError as error:
            if not _again(error):
                raise errors.PeerError(f"the connection broke: {error.strerror or error}") from error

    def leave(self, code: int = NORMAL) -> None:
        """Say goodbye, to whoever still listens."""
        self._frame(CLOSE, struct.pack("!H", code))
        try:
            self.flush()
        except errors.PeerError:
            self._outgoing.clear()  # it has gone first

    def read(self) -> Iterator[str | bytes]:
        """The messages that have come, after a poll said so. `close_code` is set when they were the last.

        Those that came before the end of the connection are there also when both are found at once.
        """
        end = self._receive()
        while self.close_code is None and (frame := self._next()) is not None:
            yield from self._on_frame(*frame)
        if end is None or self.close_code is not None:
            return
        if isinstance(end, OSError):
            raise errors.PeerError(f"the connection broke: {end.strerror or end}") from end
        self.close_code = ABNORMAL

    def _receive(self) -> OSError | bytes | None:
        """How the connection ended (an error, or b""), if it has."""
        try:
            data = self._stream.recv(PIECE_BYTES)
        except OSError as error:
            return None if _again(error) else error
        self._buffer += data
        return None if data else data

    def _on_frame(self, is_last: bool, opcode: int, payload: bytes) -> Iterator[str | bytes]:
        if opcode == CLOSE:
            self.close_code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else NORMAL
            self.close_reason = payload[2:].decode(errors="replace")
            self.leave(NORMAL)
        elif opcode == PING:
            self._frame(PONG, payload)
            self.flush()
        elif opcode != PONG:
            self._opcode = opcode or self._opcode
            self._parts += payload
            if len(self._parts) > MAX_MESSAGE_BYTES:
                raise errors.PeerError(f"the server's message is longer than {MAX_MESSAGE_BYTES} bytes")
            if is_last:
                message, self._parts = bytes(self._parts), bytearray()
                yield message.decode() if self._opcode == TEXT else message

    def _is_whole(self) -> bool:
        sizes = _sizes(self._buffer)
        return sizes is not None and len(self._buffer) >= sum(sizes)

    def _next(self) -> tuple[bool, int, bytes] | None:
        sizes = _sizes(self._buffer)
        if sizes is None or len(self._buffer) < sum(sizes):
            return None
        head, size = sizes
        first, payload = self._buffer[0], bytes(self._buffer[head : head + size])
        del self._buffer[: head + size]
        return bool(first & 0x80), first & 0x0F, payload

    def _frame(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        self._outgoing += _head(opcode, len(payload)) + mask + _masked(payload, mask)


def _again(error: OSError) -> bool:
    """Nothing is wrong: it would have to wait; over TLS perhaps for the other direction."""
    return isinstance(error, BlockingIOError) or type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def _sizes(buffer: bytearray) -> tuple[int, int] | None:
    """Of the next frame's head and payload; None while that cannot be told. What a server sends is not masked."""
    if len(buffer) < 2:
        return None
    size = buffer[1] & 0x7F
    if buffer[1] & 0x80:
        raise errors.PeerError("the server sent a masked frame")
    if size < 126:
        return 2, size
    head = 4 if size == 126 else 10
    if len(buffer) < head:
        return None
    found = int.from_bytes(buffer[2:head])
    if found > MAX_MESSAGE_BYTES:
        raise errors.PeerError(f"the server's message is longer than {MAX_MESSAGE_BYTES} bytes")
    return head, found


def _head(opcode: int, size: int) -> bytes:
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    return struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)


def _masked(payload: bytes, mask: bytes) -> bytes:
    """As one number: a loop over bytes would take a hundred times longer."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def connect(account: Account, target: str) -> WebSocket:
    """`Refused` for any answer but 101."""
    key = binascii.b2a_base64(os.urandom(16), newline=False).decode()
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    }
    answer, stream = http.ask(account, "GET", target, headers=headers, timeout_s=60.0)
    if answer.status != 101:
        try:
            raise Refused(answer.status, answer.read())
        finally:
            answer.close()
    return WebSocket(stream, answer.rest)
