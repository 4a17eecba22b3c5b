"""The answer to one request, as the client is sent it: framing, and whether another request may follow."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Awaitable, Callable, Iterable

from . import heads
from .reader import Request

_WITHOUT_BODY = frozenset({204, 304})
_date: tuple[int, bytes] = (0, b"")


class Answer:
    """`write` queues bytes for the client, `drain` waits while it is slow."""

    def __init__(self, request: Request, write: Callable[[bytes], None], drain: Callable[[], Awaitable[None]]) -> None:
        self._request = request
        self._write = write
        self.drain = drain
        self.has_begun = False
        self.status = 0  # until it has
        self.is_whole = False
        self.keeps_alive = not request.is_last
        self._is_chunked = False
        self._has_body = True
        self._held = b""

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Status and end-to-end headers; a Content-Length among them is a promise. Sent with the first of the body."""
        head = self._request.head
        told = list(headers)
        names = {name for name, _ in told}
        if b"date" not in names:
            told.append((b"date", _now()))
        self.has_begun = True
        self.status = status
        self._has_body = head.method != "HEAD" and status not in _WITHOUT_BODY
        if status in _WITHOUT_BODY:
            told = [pair for pair in told if pair[0] != b"content-length"]
        elif b"content-length" not in names:
            self._is_chunked = head.version == "1.1" and self._has_body
            told += [(b"transfer-encoding", b"chunked")] if head.version == "1.1" else []
            self.keeps_alive &= head.version == "1.1" or not self._has_body
        # What is left of the request would be taken for the next one, and reading it all may take for ever.
        self.keeps_alive &= self._request.body.is_complete
        if not self.keeps_alive:
            told.append((b"connection", b"close"))
        elif head.version == "1.0":
            told.append((b"connection", b"keep-alive"))
        self._held = heads.render(heads.status_line(status), told)

    def write(self, data: bytes) -> None:
        """A piece of the body, for a chunked answer a chunk of its own: clients of POST exec see frames by chunks."""
        if data and self._has_body:
            framed = b"%x\r\n%s\r\n" % (len(data), data) if self._is_chunked else data
            self._write(self._taken() + framed)

    def flush(self) -> None:
        """Send the head now: the body is yet to be made."""
        if self._held:
            self._write(self._taken())

    def end(self, trailers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        last = b"0\r\n%s\r\n" % b"".join(b"%s: %s\r\n" % pair for pair in trailers) if self._is_chunked else b""
        if data := self._taken() + last:
            self._write(data)
        self.is_whole = True

    def whole(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """All of it at once."""
        self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        self.write(body)
        self.end()

    def _taken(self) -> bytes:
        held, self._held = self._held, b""
        return held


def _now() -> bytes:
    """RFC 9110, 6.6.1; made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = now, email.utils.formatdate(now, usegmt=True).encode()
    return _date[1]
