"""One client's connection: its requests are served in turn, by whatever facade their Host and path lead to.

    head ─► facade ─► answer ─┬─► the next head                      keep-alive, pipelined or not
                              ├─► end                                refused, asked for, or more came than was read
                              └─► bytes in both directions           after 101 (`Exchange.take_over`)

Reading pauses while a request waits for its turn, or while nobody takes a body. A head has to come in HEAD_S, the next
one begins within IDLE_S. A client that closes its side still gets its answer; one that is gone cancels who serves it.
One that does not read what it asked for is left after STALL_S; what was upgraded may stand still for as long as it
likes. Who may stay when there are many is the crowd's to say.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import cast

from ... import errors
from ...wire import faults
from ..services.creation_rate import RateLimited
from .answer import Answer
from .crowd import Crowd, Kind
from .deadline import Deadline
from .heads import Head
from .reader import Body, Reader, Request

log = logging.getLogger(__name__)

HEAD_S = 60.0
IDLE_S = 75.0
LINGER_S = 2.0
STALL_S = 120.0
RETRY_AFTER_S = 1
HIGH_WATER_BYTES = 1 << 20
SWITCHING_PROTOCOLS = 101


class Exchange:
    """One request in the hands of a facade, which begins and ends the answer, or takes the connection over."""

    def __init__(self, edge: Edge, request: Request) -> None:
        self.head: Head = request.head
        self.body: Body = request.body
        self.answer = Answer(request, edge.write, edge.drain)
        self.peer = edge.peer
        self.address = edge.address
        self.scheme = edge.scheme
        self.gone = edge.gone
        self._edge = edge

    def go_on(self) -> None:
        """100, where the client waits for it before it sends its body."""
        if self.head.wants_continue and not self.answer.has_begun and not self.body.is_complete:
            self._edge.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def when_ended(self, act: Callable[[], None] | None) -> None:
        """Call `act` when the client sends no more, now if that is so already; None: nobody wants to know any more."""
        self._edge.on_end = act
        if act is not None and self._edge.has_ended:
            act()

    def hold(self, kind: Kind) -> None:
        """From here to its end the request is of `kind`. `Unavailable` when there are as many as there may be."""
        self._edge.crowd.become(self._edge, kind)

    def cut(self) -> None:
        """Break the connection off, whatever it is at; on any thread."""
        self._edge.cut()

    def take_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """From here on the connection is `protocol`'s; what has come already is given to it first."""
        self.answer.has_begun, self.answer.status = True, SWITCHING_PROTOCOLS
        return self._edge.hand_over(protocol)


Facade = Callable[[Exchange], Awaitable[None]]
# From a request's Host and path to who serves it; asked for every request of a connection.
Route = Callable[[str, bytes], Facade]


class Edge(asyncio.Protocol):
    """See the module. `connections` is the server's set of what is open, `crowd` knows of what kind it is."""

    def __init__(self, route: Route, connections: set[Edge], crowd: Crowd) -> None:
        self._route = route
        self._connections = connections
        self.crowd = crowd
        self._loop = asyncio.get_running_loop()
        self._waiting: collections.deque[Request] = collections.deque()
        self._reader = Reader(self._waiting.append, self._set_pace, self._has_room)
        self._current: Request | None = None
        self._answer: Answer | None = None
        self._refusal: errors.PilotError | None = None
        self._early: bytes | None = None
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.gone = asyncio.Event()
        self.on_end: Callable[[], None] | None = None
        self._is_over = False  # nothing more is read
        self.has_ended = False  # nothing more is sent by the client
        self._has_said_all = False  # nothing more is written
        self._heir: asyncio.Protocol | None = None  # whose the connection is since it was handed over
        self._is_closing = False
        self._deadline = Deadline(self._close)  # of the next head
        self._is_paused = False
        self._is_head_timed = False
        self._ending: asyncio.TimerHandle | None = None  # of a client that does not read
        self._serving: asyncio.Task[None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        self.address = transport.get_extra_info("sockname") or ("", 0)
        self.scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
        self._connections.add(self)
        self.crowd.arrive(self)
        self._serving = self._loop.create_task(self._serve(), name="edge")
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._heir is not None:
            self._heir.data_received(data)
            return
        if self._is_over:
            return
        if self._early is not None:
            self._early += data
        else:
            self._read(lambda: self._reader.feed(data))
        self._set_pace()

    def _read(self, parse: Callable[[], bytes | None]) -> None:
        try:
            self._early = parse()
        except errors.PilotError as error:
            self._is_over = True
            if not self._reader.end(error):
                self._refusal = error
        self.crowd.weigh(self, self._reader.quiet_bytes)
        self._end_if_read()
        self._news.set()
        if self._reader.is_in_head and self.is_idle:
            self._expect_head()

    def _end_if_read(self) -> None:
        """All that the client sends has come, and was parsed."""
        if self.has_ended and not self._is_over and not self._reader.is_behind:
            self._is_over = True
            self._reader.end()

    def eof_received(self) -> bool | None:
        """True: the other direction stays open for the answer to what came whole, as long as there is one to say. TLS
        has no half (RFC 8446, 6.1)."""
        if self._heir is not None:
            return self._heir.eof_received()
        self.has_ended = True
        self._end_if_read()
        self._news.set()
        if self.on_end is not None:
            self.on_end()
        return self.scheme == "http" and not self._has_said_all

    def connection_lost(self, reason: Exception | None) -> None:
        self._deadline.end()
        self.crowd.leave(self)
        self._connections.discard(self)
        self.gone.set()
        self._writable.set()
        self._end_in(None)
        if self._heir is not None:
            self._heir.connection_lost(reason)
        elif self._serving is not None:
            self._serving.cancel()

    def pause_writing(self) -> None:
        if self._heir is not None:
            self._heir.pause_writing()
            return
        self._writable.clear()
        self._end_in(STALL_S)

    def resume_writing(self) -> None:
        if self._heir is not None:
            self._heir.resume_writing()
            return
        self._writable.set()
        self._end_in(None)

    # The facade's side, by its Exchange

    def write(self, data: bytes) -> None:
        """To a client that is gone it is lost."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        await self._writable.wait()

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        self._heir = protocol
        self._deadline.end()
        self._end_in(None)
        protocol.connection_made(self._transport)
        if self._early:
            protocol.data_received(self._early)
        if not self._transport.is_closing():
            self._transport.resume_reading()
        if self._is_over:
            protocol.eof_received()
        return self._transport

    # The server's side

    @property
    def _has_answered(self) -> bool:
        return self._answer is not None and self._answer.has_begun

    @property
    def is_idle(self) -> bool:
        return self._current is None and not self._waiting

    def end_soon(self) -> None:
        """After the answer that is being made. Bytes after a 101 go at any time: sessions outlive the connection."""
        self._is_closing = True
        if self.is_idle or self._heir is not None:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # The crowd's side

    def make_room(self) -> None:
        """A client that asked, or was about to, is told to come again; one that was not has nothing to read."""
        is_asking = self._reader.is_in_head if self.is_idle else not self._has_answered
        if is_asking and not self._has_said_all:
            self._write_refusal(faults.Unavailable("too many connections are open", hint="try again"))
        self._transport.abort()

    def cut(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and every connection with it
            self._loop.call_soon_threadsafe(self.abort)

    # Requests in turn

    def _set_pace(self) -> None:
        """Read on only while there is room: nothing waits behind what is served, which takes what comes."""
        if self._heir is not None or self._transport.is_closing():
            return
        if self._reader.is_behind and self._early is None and not self._is_over and self._has_room():
            self._read(self._reader.go_on)
        has_room = self._has_room() and not self._reader.is_behind
        if has_room is self._is_paused:  # each turn is a call of the kernel
            self._is_paused = not has_room
            (self._transport.resume_reading if has_room else self._transport.pause_reading)()

    def _has_room(self) -> bool:
        if self._early is not None and len(self._early) > HIGH_WATER_BYTES:
            return False
        if self._current is None:
            return len(self._waiting) < 2 and all(_has_room_in(request) for request in self._waiting)
        return not self._waiting and _has_room_in(self._current)

    async def _serve(self) -> None:
        while (request := await self._next()) is not None:
            answer = await self._serve_one(request)
            if self._heir is not None:
                self._close()
                return
            self._current = self._answer = None
            self.crowd.become(self, Kind.STRANGER)
            if not answer.is_whole:
                # Half of it is out: a cut connection is the only honest way left to say so.
                self.abort()
                return
            if not answer.keeps_alive:
                self._refusal = None  # it has said that it is the last
                break
            if self._is_closing or (self._is_over and not self._waiting):
                break
            self._set_pace()
            if not self._writable.is_set():
                await self._writable.wait()
        if self._refusal is not None and not self._waiting:
            self._write_refusal(self._refusal)
        await self._linger()

    async def _next(self) -> Request | None:
        """The next request; None when there is none to come."""
        while not self._waiting:
            if self._is_over:
                return None
            if self._reader.is_in_head:
                self._expect_head()
            elif not self._deadline.is_set:
                self._deadline.within(IDLE_S)
            self._news.clear()
            await self._news.wait()
        self._forget()
        self._current = self._waiting.popleft()
        return self._current

    async def _serve_one(self, request: Request) -> Answer:
        exchange = Exchange(self, request)
        self._answer = exchange.answer
        try:
            await self._route(request.head.host, request.head.path)(exchange)
        except errors.PilotError as error:
            _tell(exchange.answer, error)
        except Exception as error:
            # A facade tells its clients of errors itself: what comes here is a bug of its or ours.
            log.exception("request failed", extra={"path": request.head.path[:200].decode("latin-1")})
            _tell(exchange.answer, error)
        return exchange.answer

    def _write_refusal(self, error: errors.PilotError) -> None:
        """Of what cannot be read, so that no facade is known: the last on this connection."""
        request = Request(Head("GET", b"/", (), "1.1", False), Body(lambda: None))
        _tell(Answer(request, self.write, self.drain), error)

    async def _linger(self) -> None:
        """Let the client read the last answer: closing while it sends would reset the connection under it.

        TLS says the end of both directions by itself.
        """
        self._is_over = self._has_said_all = True
        self._forget()
        if not self.has_ended and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()
            self._transport.resume_reading()
            try:
                async with asyncio.timeout(LINGER_S):
                    await self.gone.wait()
            except TimeoutError:
                pass  # it has had its time
        self._close()

    def _close(self) -> None:
        """What was written is still sent, to a client that reads it."""
        self._has_said_all = True
        self._transport.close()
        self._end_in(STALL_S)

    def _end_in(self, seconds: float | None) -> None:
        """Whatever the client does not read; None: never mind."""
        if self._ending is not None:
            self._ending.cancel()
        self._ending = None
        if seconds is not None and not self.gone.is_set():
            self._ending = self._loop.call_later(seconds, self._transport.abort)

    def _expect_head(self) -> None:
        """From its first byte on, however many others follow now and then."""
        if not self._is_head_timed:
            self._deadline.within(HEAD_S)
            self._is_head_timed = True

    def _forget(self) -> None:
        self._is_head_timed = False
        self._deadline.off()


def _has_room_in(request: Request) -> bool:
    return request.body.buffered_bytes <= HIGH_WATER_BYTES


def _tell(answer: Answer, error: Exception) -> None:
    """In plain words, as long as the answer has not begun: facades have better ones."""
    if not answer.has_begun:
        fault = faults.fault_of(error)
        text = str(error) if isinstance(error, errors.PilotError) else "internal error"
        answer.whole(fault.status, [(b"content-type", b"text/plain"), *retry_after(error)], f"{text}\n".encode())


def rate_headers(limit: int, remaining: int, more_in_s: float, *, refused: bool) -> list[tuple[bytes, bytes]]:
    """As clients of Sprites read them; `Reset` is in seconds since 1970."""
    seconds = max(1, math.ceil(more_in_s))
    return [
        (b"x-ratelimit-limit", b"%d" % limit),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % (math.ceil(time.time()) + (seconds if more_in_s > 0 else 0))),
        *([(b"retry-after", b"%d" % seconds)] if refused else []),
    ]


def retry_after(error: BaseException) -> list[tuple[bytes, bytes]]:
    """The header of that name, for what will pass; of a limit that is known, its own words, too."""
    if isinstance(error, RateLimited):
        return rate_headers(error.limit, error.remaining, error.retry_after_s, refused=True)
    passes = isinstance(error, faults.Unavailable | faults.Exhausted)
    return [(b"retry-after", b"%d" % RETRY_AFTER_S)] if passes else []
