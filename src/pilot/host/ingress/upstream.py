"""A connection to a port of a sprite: one request after the other, each with one answer, read strictly.

The program at the other end is a stranger's. What is no answer, too long a head, one 1xx after another, or anything
said while nobody asked ends the connection; nothing of it is ever told as another answer.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

from ... import errors
from ...wire import faults
from ..relay.deadline import Deadline
from ..relay.heads import HOP_BY_HOP, Headers

MAX_HEAD_BYTES = 64 << 10
MAX_INFORMATIONAL = 16
MAX_ERROR = 200
HIGH_WATER_BYTES = 256 << 10
SWITCHING_PROTOCOLS = 101
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_NO_TRAILERS = HOP_BY_HOP | {b"content-length", b"host"}


class Upstream(asyncio.Protocol):
    """`ask`, then `answered`, then `piece` until None. One asker at a time, who waits for one thing at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.is_lost = False
        self.idle_since_s = 0.0
        self.is_busy = False
        self._is_paused = False
        self._patience = Deadline(self._too_late)
        self._patience_s = 0.0
        self._reset("GET", False)

    def _reset(self, method: str, upgrade: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._method = method
        self._wants_upgrade = upgrade
        self._read: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._buffered_bytes = self._head_bytes = self._informational = 0
        self._has_head = self._is_informational = self._is_framed = self._keeps_alive = False
        self.has_begun = self.is_complete = False
        self._error: errors.PilotError | None = None
        self.status = 0
        self.headers: Headers = ()
        self.trailers: Headers = ()

    # The asker's side

    def ask(self, head: bytes, method: str, *, upgrade: bool = False) -> None:
        """Send a request's head; its body follows by `write`."""
        self._reset(method, upgrade)
        self.is_busy = True
        self._transport.write(head)

    def write(self, data: bytes) -> None:
        """Some of the body; to one that is gone it is lost."""
        if not self.is_lost:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait while it takes nothing."""
        await self._writable.wait()

    async def answered(self, within_s: float | None = None) -> None:
        """`status` and `headers` are there. `PeerError` when they do not come, `DeadlineExceeded` not in time."""
        if within_s is not None:
            self._patience_s = within_s
            self._patience.within(within_s)
        while not self._has_head:
            if self._error is not None:
                raise self._error
            await self._wait()
        self._patience.off()

    async def more(self) -> None:
        """Some of the body is there, or its end. `PeerError` when it breaks off, after what came before."""
        while not self._pieces and not self.is_complete:
            if self._error is not None:
                raise self._error
            await self._wait()

    def taken(self) -> bytes:
        """What has come of the body by now, perhaps nothing."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered_bytes = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow: this one was answered, and both sides go on."""
        return self.is_complete and self._keeps_alive and not self.is_lost and self._error is None

    def rest(self) -> None:
        """Nobody asks any more, for now."""
        self.is_busy = False
        self.idle_since_s = self._loop.time()

    def close(self) -> None:
        self._transport.abort()

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """After 101 the connection is `protocol`'s; what has come already is given to it first."""
        self._patience.end()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._pieces:
            protocol.data_received(self.taken())
        return self._transport

    async def _wait(self) -> None:
        self._news = self._loop.create_future()
        try:
            await self._news
        finally:
            self._news = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self.is_busy or self.is_complete:
            self._break("it said something that nobody asked for")
            return
        self.has_begun = True
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switched(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if self.is_complete:
                self._keeps_alive = False  # what follows the answer is nobody's
            else:
                self._break(f"its answer is not HTTP: {str(error)[:MAX_ERROR].lower()}")
        if not self._has_head and self._head_bytes > MAX_HEAD_BYTES:
            self._break(f"more than {MAX_HEAD_BYTES} bytes without an end of its head")
        if self._has_head and self._method == "HEAD":
            self.is_complete = True
        if self._buffered_bytes > HIGH_WATER_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._tell()

    def eof_received(self) -> None:
        if self._has_head and not self._is_framed and not self.is_complete:
            self.is_complete = True  # its end is that of the connection
        self._keeps_alive = False
        self._break("it closed the connection")

    def connection_lost(self, reason: Exception | None) -> None:
        self._patience.end()
        self.is_lost = True
        self._writable.set()
        self._break("it closed the connection")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _too_late(self) -> None:
        self._end(faults.DeadlineExceeded(f"it gave no answer within {self._patience_s:.0f} s"))

    def _break(self, why: str) -> None:
        self._end(errors.PeerError(why))

    def _end(self, error: errors.PilotError) -> None:
        self._keeps_alive = False
        if not self.is_complete and self._error is None:
            self._error = error
        if not self.is_lost:
            self.is_lost = True
            # What was said before it ended is still being taken: the transport is closed, not what we hold of it.
            self._transport.abort()
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _switched(self, rest: bytes) -> None:
        if rest and self._error is None:
            self._pieces.append(rest)

    # httptools' side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._read.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self.is_complete or self._error is not None:
            return
        status = self._parser.get_status_code()
        if status == SWITCHING_PROTOCOLS and not self._wants_upgrade:
            self._break("it switched to a protocol that nobody asked for")
            return
        headers, self._read = tuple(self._read), []
        self._is_informational = 100 <= status < 200 and status != SWITCHING_PROTOCOLS
        if self._is_informational:
            self._informational += 1
            return
        self.status, self.headers, self._has_head = status, headers, True
        self._is_framed = not _FRAMING.isdisjoint([name for name, _ in headers])
        self._keeps_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if not self.is_complete and self._method != "HEAD":
            self._pieces.append(data)
            self._buffered_bytes += len(data)

    def on_message_complete(self) -> None:
        if self.is_complete:
            return
        if self._is_informational:
            self._read, self._is_informational = [], False
            if self._informational > MAX_INFORMATIONAL:
                self._break("it sent no answer, but one 1xx after another")
            return
        if self.status != SWITCHING_PROTOCOLS:
            self.trailers = tuple(pair for pair in self._read if pair[0] not in _NO_TRAILERS)
            self.is_complete = True
