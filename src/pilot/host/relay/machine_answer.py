"""What a machine answers to one request, read as one answer: bytes after its end are nobody's.

The machine is not trusted: what is no answer, too long a head, or one 1xx after another is a `PeerError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httptools

from ... import errors
from ...machine.dial import Stream
from .heads import HOP_BY_HOP, Headers

MAX_HEAD_BYTES = 64 << 10
MAX_INFORMATIONAL = 16
MAX_ERROR = 200
# A chunk of the machine's is a chunk for the client, unless it is longer than this.
MAX_CHUNK_BYTES = 128 << 10
SWITCHING_PROTOCOLS = 101
_END = b"\r\n\r\n"
# They would say something else about the message than its head did.
_NO_TRAILERS = HOP_BY_HOP | {b"content-length", b"host", b"pilot-fault"}


class MachineAnswer:
    """`status` and `headers` are there after `read_head`; the stream stays the caller's."""

    def __init__(self, stream: Stream, method: str) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.trailers: Headers = ()
        self._stream = stream
        self._method = method
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._read: list[tuple[bytes, bytes]] = []
        self._ready: list[bytes] = []
        self._chunk = bytearray()
        self._error: errors.PeerError | None = None
        self._has_head = self._is_chunked = self._is_complete = False

    async def read_head(self) -> None:
        """Up to the head of the answer itself, or of the 101; 1xx before it are left out."""
        for _ in range(MAX_INFORMATIONAL):
            self._begin()
            self._feed(await self._stream.receive_through(_END, MAX_HEAD_BYTES))
            if not self._has_head or not (self.status == SWITCHING_PROTOCOLS or 100 <= self.status < 600):
                raise errors.PeerError("relay: the machine's answer is no HTTP answer")
            if self.status == SWITCHING_PROTOCOLS or self.status >= 200:
                return
        raise errors.PeerError("relay: the machine sent no answer, but one 1xx after another")

    def first(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def has_body(self) -> bool:
        return self._method != "HEAD" and self.status not in (204, 304) and self.first(b"content-length") != b"0"

    async def pieces(self) -> AsyncIterator[bytes | None]:
        """The body as it comes; None when what follows has to be waited for. `PeerError` when it breaks off."""
        while self.has_body:
            ready, self._ready = self._ready, []
            for piece in ready:
                yield piece
            if self._error is not None:
                raise self._error
            if self._is_complete:
                return
            yield None
            data = await self._stream.receive()
            if data:
                try:
                    self._feed(data)
                except errors.PeerError as error:
                    self._error = error  # what came before it is passed on first
            elif self._is_chunked or self.first(b"content-length") is not None:
                raise errors.PeerError("relay: the machine broke off in the middle of its answer")
            else:
                return  # its end is that of the connection

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.status != SWITCHING_PROTOCOLS and not self._is_complete:
                raise errors.PeerError(f"relay: the machine's answer is not HTTP: {str(error)[:MAX_ERROR]}") from error
            # Not HTTP any more, or what follows the answer.

    # httptools' side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._read.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._is_complete:
            return
        self.status = self._parser.get_status_code()
        self.headers, self._read, self._has_head = tuple(self._read), [], True
        self._is_chunked = self.first(b"transfer-encoding") is not None

    def on_body(self, data: bytes) -> None:
        if self._is_complete:
            return
        self._chunk += data
        if not self._is_chunked or len(self._chunk) > MAX_CHUNK_BYTES:
            self._take_chunk()

    def on_chunk_complete(self) -> None:
        if not self._is_complete:
            self._take_chunk()

    def on_message_complete(self) -> None:
        if not self._is_complete:
            self.trailers = tuple(pair for pair in self._read if pair[0] not in _NO_TRAILERS)
            self._is_complete = True

    def _take_chunk(self) -> None:
        if self._chunk:
            self._ready.append(bytes(self._chunk))
            self._chunk.clear()
