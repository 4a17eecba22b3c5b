"""Bytes of a client's connection → requests, every one parsed, whatever follows it on the same connection.

They are parsed in portions, and only while there is room for what a portion may hold: a request of 30 bytes takes a
hundred times as much once it is one. What is left is kept as it came.

httptools (llhttp, strict) refuses both lengths, two of them, obs-fold, bare LF, NUL and bad chunks; `heads.check`
refuses the rest. After something that cannot be read nothing on the connection is: the error is the last that comes.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable

import httptools

from ... import errors
from ...wire import faults
from . import heads
from .heads import Head

# Bytes that lead to nothing (no head's end, no piece of a body): a client may not keep us reading for ever.
MAX_QUIET_BYTES = heads.MAX_TARGET_BYTES + heads.MAX_HEADERS_BYTES
MAX_ERROR = 200
# What is parsed at once, beyond a body whose length is known.
PORTION_BYTES = 4096
_NOTHING = memoryview(b"")


class Body:
    """What has come of a request's body and nobody has taken yet. One reader."""

    def __init__(self, pace: Callable[[], None]) -> None:
        self.buffered_bytes = 0
        self.is_complete = False
        self.trailers: list[tuple[bytes, bytes]] = []
        self._pace = pace
        self._pieces: collections.deque[bytes] = collections.deque()
        self._error: errors.PilotError | None = None
        self._news: asyncio.Future[None] | None = None  # of who waits for the next piece

    async def piece(self) -> bytes | None:
        """The next bytes; None at the end. `InvalidRequest` when the client has gone in the middle."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.is_complete:
                return None
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.buffered_bytes = 0
        self._pace()
        return data

    async def peek(self, most: int) -> bytes:
        """Its beginning, which stays to be taken: all of it, or at least `most` bytes, or as far as it will come."""
        while self.buffered_bytes < most and not self.is_complete and self._error is None:
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return b"".join(self._pieces)

    def add(self, data: bytes) -> None:
        self._pieces.append(data)
        self.buffered_bytes += len(data)
        self._tell()

    def end(self) -> None:
        self.is_complete = True
        self._tell()

    def fail(self, error: errors.PilotError) -> None:
        """It will not come to its end."""
        if not self.is_complete:
            self._error = error
            self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Request:
    """A request whose head is there. `is_last`: nothing on the connection is read after it."""

    def __init__(self, head: Head, body: Body) -> None:
        self.head = head
        self.body = body
        self.is_last = not head.keep_alive


class Reader:
    """`begin` is called with each request at the end of its head; `pace` whenever some of a body was taken; `has_room`
    says whether another portion may be parsed.

    `quiet_bytes` came since something was whole.
    """

    def __init__(
        self, begin: Callable[[Request], None], pace: Callable[[], None], has_room: Callable[[], bool] = lambda: True
    ) -> None:
        self._begin = begin
        self._pace = pace
        self._has_room = has_room
        self._unparsed = _NOTHING
        self._body_left = 0  # of a body whose length is known
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self.quiet_bytes = 0
        self._has_begun = False

    @property
    def is_in_head(self) -> bool:
        """Whether some of a head has come, and not all."""
        return self._has_begun and self._request is None

    @property
    def is_behind(self) -> bool:
        """Whether there is something that `go_on` would parse, given room."""
        return bool(self._unparsed)

    def feed(self, data: bytes) -> bytes | None:
        """Calls `begin` for what `data` completes, as far as there is room. What follows an upgrade's head is returned,
        not read.

        Raises an error that the client is to be told; then, and after an upgrade, nothing more may be fed.
        """
        self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
        return self.go_on()

    def go_on(self) -> bytes | None:
        """With what is left of what was fed, as far as there is room now. As `feed`."""
        while self._unparsed and self._has_room():
            most = max(PORTION_BYTES, self._body_left)
            portion, self._unparsed = self._unparsed[:most], self._unparsed[most:]
            if (early := self._parse(portion)) is not None:
                rest, self._unparsed = self._unparsed, _NOTHING
                return early + rest
        return None

    def _parse(self, portion: memoryview) -> bytes | None:
        self.quiet_bytes += len(portion)
        try:
            self._parser.feed_data(portion)
        except httptools.HttpParserUpgrade as upgrade:
            return bytes(portion[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, errors.PilotError):
                raise error.__context__ from None  # of `heads`, by on_headers_complete
            raise
        except httptools.HttpParserError as error:
            raise faults.InvalidRequest(f"request: {str(error)[:MAX_ERROR].lower()}") from error
        if self.quiet_bytes > MAX_QUIET_BYTES:
            if self.is_in_head:
                raise heads.too_large()
            raise faults.HeadTooLarge(f"request: {MAX_QUIET_BYTES} bytes without an end of its chunk")
        return None

    def end(self, error: errors.PilotError | None = None) -> bool:
        """Nothing more is read, for `error`. Whether that broke off a body, so that who serves its request is told."""
        if self._request is None:
            return False
        self._request.body.fail(error or faults.InvalidRequest("the client went away in the middle of its request"))
        return True

    # httptools' side

    def on_message_begin(self) -> None:
        self._target, self._headers, self._request, self._has_begun = b"", [], None, True

    def on_url(self, data: bytes) -> None:
        self._target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        version = self._parser.get_http_version()
        headers, self._headers = tuple(self._headers), []
        method = self._parser.get_method().decode("ascii")
        head = Head(method, self._target, headers, version, self._parser.should_keep_alive())
        heads.check(head)
        heads.check_size(head)
        self.quiet_bytes = 0
        self._body_left = 0 if head.is_chunked else int(head.first(b"content-length") or 0)
        self._request = Request(head, Body(self._pace))
        self._request.is_last |= self._parser.should_upgrade()
        self._begin(self._request)

    def on_body(self, data: bytes) -> None:
        assert self._request is not None
        self.quiet_bytes = 0
        self._body_left = max(0, self._body_left - len(data))
        self._request.body.add(data)

    def on_message_complete(self) -> None:
        assert self._request is not None
        self.quiet_bytes = 0
        self._request.body.trailers = self._headers
        self._request.body.end()
        self._request, self._has_begun, self._body_left = None, False, 0
