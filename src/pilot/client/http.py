"""HTTP/1.1 to the server: one request on a connection of its own, and its answer as it comes.

Written here because a command is over before a library is imported (`docs/decisions/client-without-libraries.md`). It
asks what `sprite` asks and no more: no redirects, no cookies, no proxies, no connection that is used twice.
"""

from __future__ import annotations

import json
import os
import socket

from .. import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from .account import Account

CONNECT_S = 30.0
ANSWER_S = 300.0
PIECE_BYTES = 1 << 16
MAX_HEAD_BYTES = 256 << 10
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quoted(text: str) -> str:
    """Percent-encoded whole; bytes that came in as no UTF-8 go out as they were."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in os.fsencode(text))


def target(path: str, query: Iterable[tuple[str, str]] = ()) -> str:
    """A path whose variable parts are quoted already, with its query."""
    pairs = "&".join(f"{quoted(name)}={quoted(value)}" for name, value in query)
    return f"{path}?{pairs}" if pairs else path


class Address:
    """Where a server is: of `http://host[:port]` or `https://…`."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        authority = rest.split("/", 1)[0]
        host, colon, port = authority.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = authority, ""
        if scheme not in ("http", "https") or not host or (port and not port.isdecimal()):
            raise errors.PilotError(f"{url}: not the address of a server", hint="write it as http://host:port")
        self.url = url
        self.is_secure = scheme == "https"
        self.host = host.strip("[]")
        self.port = int(port) if port else 443 if self.is_secure else 80
        self.authority = authority

    def connect(self) -> socket.socket:
        """`PeerError` when nobody is there."""
        try:
            stream = socket.create_connection((self.host, self.port), CONNECT_S)
            if self.is_secure:
                import ssl  # 20 ms, for those alone who need it

                stream = ssl.create_default_context().wrap_socket(stream, server_hostname=self.host)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            reason = error.strerror or str(error)
            raise errors.PeerError(f"reach {self.url}: {reason}", hint="is pilotd running there?") from error
        return stream


class Answer:
    """Its head has been read. `rest` is what came behind the head of a 101. `has_come`: any, to this process."""

    has_come = False

    def __init__(self, stream: socket.socket, method: str) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self.status, self.headers = self._read_head()
        while 100 <= self.status < 200 and self.status != 101:
            self.status, self.headers = self._read_head()
        Answer.has_come = True
        self._has_body = method != "HEAD" and self.status not in (101, 204, 304)

    @property
    def is_error(self) -> bool:
        return self.status >= 400

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    @property
    def length(self) -> int | None:
        """Of the body, where it was said."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. `PeerError` when it breaks off."""
        if not self._has_body:
            return
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif self.length is not None:
            yield from self._exactly(self.length)
        else:
            while data := self._some():
                yield data

    def read(self) -> bytes:
        return b"".join(self.pieces())

    def lines(self) -> Iterator[bytes]:
        """The body's lines, without blank ones."""
        left = b""
        for piece in self.pieces():
            *whole, left = (left + piece).split(b"\n")
            yield from (line for line in whole if line.strip())
        if left.strip():
            yield left

    def close(self) -> None:
        self._stream.close()

    def _read_head(self) -> tuple[int, dict[str, str]]:
        head = self._through(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        version, _, after = first.partition(" ")
        status = after[:3]
        if not version.startswith("HTTP/1.") or not status.isdecimal():
            raise errors.PeerError("the server's answer is not HTTP")
        pairs = (line.partition(":") for line in rest if line)
        return int(status), {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = self._through(b"\r\n").split(b";")[0].strip()
            try:
                left = int(size, 16)
            except ValueError as error:
                raise errors.PeerError("the server's answer is not HTTP") from error
            if not left:
                while self._through(b"\r\n") != b"\r\n":
                    pass  # trailers
                return
            yield from self._exactly(left)
            self._through(b"\r\n")

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._some(size)
            if not data:
                raise errors.PeerError("the server broke off in the middle of its answer")
            size -= len(data)
            yield data

    def _through(self, end: bytes) -> bytes:
        while end not in self._buffer:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise errors.PeerError("the server's answer is not HTTP")
            data = _receive(self._stream)
            if not data:
                raise errors.PeerError("the server closed the connection without an answer")
            self._buffer += data
        at = self._buffer.index(end) + len(end)
        found = bytes(self._buffer[:at])
        del self._buffer[:at]
        return found

    def _some(self, most: int = PIECE_BYTES) -> bytes:
        if not self._buffer:
            return _receive(self._stream, min(most, PIECE_BYTES))
        found = bytes(self._buffer[:most])
        del self._buffer[:most]
        return found


def _receive(stream: socket.socket, most: int = PIECE_BYTES) -> bytes:
    try:
        return stream.recv(most)
    except TimeoutError as error:
        raise errors.PeerError("the server said nothing for too long") from error
    except OSError as error:
        raise errors.PeerError(f"the connection broke: {error.strerror or error}") from error


def ask(
    account: Account,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Iterable[bytes] = (),
    length: int | None = None,
    timeout_s: float | None = ANSWER_S,
) -> tuple[Answer, socket.socket]:
    """The answer's head, and the connection, which `Answer.close` closes.

    `length` bytes of `body` are sent; a server that answers before it has them all is heard.
    """
    address = Address(account.url)
    stream = address.connect()
    try:
        stream.settimeout(timeout_s)
        lines = {"Host": address.authority, "Authorization": f"Bearer {account.token}", "Connection": "close"}
        lines |= {} if length is None else {"Content-Length": str(length)}
        lines |= headers or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        _send(stream, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"), body)
        return Answer(stream, method), stream
    except BaseException:
        stream.close()
        raise


def _send(stream: socket.socket, head: bytes, body: Iterable[bytes]) -> None:
    try:
        stream.sendall(head)
        for piece in body:
            stream.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        return  # it takes no more; its answer, which may be there already, says why
    except OSError as error:
        raise errors.PeerError(f"the connection broke: {error.strerror or error}") from error


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """As a body whose length nobody knows."""
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


_KINDS: dict[int, type[errors.PilotError]] = {404: errors.NotFound, 409: errors.Conflict}


def refusal(status: int, body: bytes) -> errors.PilotError:
    """What an answer of status ≥ 400 means."""
    try:
        document: Any = json.loads(body)
        text, hint = str(document["error"]), document.get("message")
    except (ValueError, KeyError, TypeError, AttributeError):
        text, hint = body.decode(errors="replace").strip()[:500] or f"the server answered {status}", None
    kind = _KINDS.get(status, errors.PeerError if status >= 500 else errors.PilotError)
    return kind(text, hint=hint)
