"""One request in the hands of its endpoint: body in, WebSocket when asked for.

    endpoint(call) returns a Response                      ordinary calls
    endpoint(call) awaits call.accept_websocket(), talks   WebSocket calls; an error before that is a plain HTTP answer

Reading waits at most IDLE_TIMEOUT_S for the next piece, so a stalled client cannot hold a call for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import NoneType
from typing import TypeVar, cast

import h11

from .. import errors
from ..wire import bodies, faults, http, websocket
from ..wire.operations import Answered, Asked, Operation
from .stream import Stream

IDLE_TIMEOUT_S = 60.0
FAREWELL_S = 2.0
MAX_JSON_BYTES = 1 << 20
_T = TypeVar("_T")


class WebSocket:
    """An accepted WebSocket. One reader and any number of writers."""

    def __init__(self, stream: Stream, socket: websocket.WebSocket) -> None:
        self._stream = stream
        self._socket = socket
        self._events: list[websocket.Event] = socket.receive_pending()

    async def receive(self) -> websocket.Event:
        """The next message, or `Closed` (again and again). No deadline: clients may be silent."""
        while not self._events:
            data = await self._stream.read()
            self._events += self._socket.receive(data)
            self._flush()
            if not data and not self._events:
                self._events.append(websocket.Closed(websocket.CLOSE_ABNORMAL))
        event = self._events[0]
        if not isinstance(event, websocket.Closed):
            del self._events[0]
        return event

    async def send(self, message: str | bytes) -> None:
        """Send one message; waits while the client is slow; `PeerError` when it has gone."""
        self._socket.send(message)
        self._flush()
        await self._stream.drain()

    async def send_block(self, messages: memoryview) -> None:
        """Send messages that lie in a `wire.bulk.Block`, which may be filled again when this returns."""
        if self._socket.closed:
            raise errors.PeerError("websocket: the other side has closed")
        self._flush()
        self._stream.write(messages)
        await self._stream.drain()

    async def close(self, code: int, reason: str = "") -> None:
        """Say goodbye. The connection itself ends after `farewell`."""
        self._socket.close(code, reason)
        self._flush()

    async def farewell(self) -> None:
        """Wait for the client's goodbye, or its end, for at most FAREWELL_S; what it still sends is dropped.

        Without this a client, or the relay before it, that writes after our last frame is answered by a reset, and a
        reset can overtake the frames that it has not read yet: output and exit would be lost.
        """
        try:
            async with asyncio.timeout(FAREWELL_S):
                while not isinstance(await self.receive(), websocket.Closed):
                    pass
        except TimeoutError:
            # It has had its time; some clients never say goodbye.
            pass

    def _flush(self) -> None:
        if output := self._socket.take_output():
            self._stream.write(output)


class Call:
    """A request, its path parameters and its connection."""

    def __init__(self, request: http.Request, parameters: Mapping[str, str], stream: Stream, protocol: h11.Connection,
                 next_event: Callable[[], object]) -> None:  # fmt: skip
        self.request = request
        self.parameters = parameters
        self.websocket: WebSocket | None = None
        self._stream = stream
        self._protocol = protocol
        self._next_event = next_event
        self._body: bytes | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, as it comes; `PeerError` when the client goes away in the middle."""
        while self._protocol.their_state is h11.SEND_BODY:
            event = await self._body_event()
            if isinstance(event, h11.EndOfMessage):
                return
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def body(self, limit_bytes: int = MAX_JSON_BYTES) -> bytes:
        """The whole body, again and again; `TooLarge` above the limit."""
        if self._body is not None:
            return self._body
        parts, size_bytes = [], 0
        async for part in self.chunks():
            parts.append(part)
            size_bytes += len(part)
            if size_bytes > limit_bytes:
                raise faults.TooLarge(f"{self.request.path}: the body is larger than {limit_bytes} bytes")
        self._body = b"".join(parts)
        return self._body

    async def asked(self, operation: Operation[Asked, Answered]) -> Asked:
        """The body that the operation's row speaks of."""
        if operation.asked is NoneType:
            return cast(Asked, None)
        return await self.json(operation.asked)

    async def json(self, kind: type[_T]) -> _T:
        """The body as JSON of this shape; an empty one is an empty object."""
        body = await self.body()
        try:
            return bodies.decode(body, kind)
        except errors.UNREADABLE as error:
            raise faults.InvalidRequest(f"{self.request.path}: body: {error}") from error

    async def wait_gone(self) -> None:
        """Returns when the client has closed its side, which it does not do before the answer while it wants it.

        Only after the body was read; what comes of a next request is kept.
        """
        while data := await self._stream.read():
            self._protocol.receive_data(data)

    @contextlib.asynccontextmanager
    async def leaving(self) -> AsyncIterator[asyncio.Task[None]]:
        """Done when the client has gone (`wait_gone`): for an answer that has no end by itself, or a late one."""
        gone = asyncio.create_task(self.wait_gone(), name=f"client of {self.request.path}")
        try:
            yield gone
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def accept_websocket(self, headers: Sequence[tuple[str, str]] = ()) -> WebSocket:
        """Answer 101; from here on there are no HTTP errors."""
        accepted = [*websocket.accept_headers(self.request.headers), *headers]
        answer = h11.InformationalResponse(status_code=101, headers=accepted, reason=b"Switching Protocols")
        self._stream.write(self._protocol.send(answer) or b"")
        trailing, _ = self._protocol.trailing_data
        socket = websocket.WebSocket(websocket.Side.SERVER, trailing=trailing)
        self.websocket = WebSocket(self._stream, socket)
        return self.websocket

    async def _body_event(self) -> object:
        if self._protocol.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self._stream.write(self._protocol.send(go_on) or b"")
        while (event := self._next_event()) is h11.NEED_DATA:
            try:
                async with asyncio.timeout(IDLE_TIMEOUT_S):
                    data = await self._stream.read()
            except TimeoutError as error:
                raise faults.DeadlineExceeded(f"{self.request.path}: no body for {IDLE_TIMEOUT_S:g} s") from error
            if not data:
                raise errors.PeerError(f"{self.request.path}: the client went away in the middle of the body")
            self._protocol.receive_data(data)
        return event
