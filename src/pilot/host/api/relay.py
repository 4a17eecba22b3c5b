"""Plain HTTP calls that the machine answers (exec list and kill, POST exec, fs): bodies stream through both ways.

    client ── uvicorn/starlette ── this ── h11 over the dialled stream ── agent

Each piece of the agent's body is passed on at once, as a chunk of its own: clients of POST exec see frames by chunks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import h11
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ... import errors
from ...wire import faults
from ..machine.dial import Stream

log = logging.getLogger(__name__)

# For the answer once the request is through, and for each piece of a request on its way.
HEAD_TIMEOUT_S = 120.0
MAX_INFORMATIONAL = 16
MAX_ERROR = 200  # h11 quotes what it was sent
Headers = list[tuple[bytes, bytes]]

# RFC 9110 7.6.1: of one connection, not of the message; and what is pilotd's own business.
_NOT_PASSED_ON = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade".split()
)
_NOT_FOR_THE_MACHINE = _NOT_PASSED_ON | {b"authorization", b"host", b"cookie", b"expect"}
_FAULT = faults.HEADER.lower().encode()
NOT_FOR_THE_CLIENT = _NOT_PASSED_ON | {b"server", b"date", _FAULT}


async def relay(request: Request, stream: Stream, target: str, ended: Callable[[], object]) -> Answer:
    """The machine's answer to `request`, asked as `target`. Owns `stream`; calls `ended` when it is through."""
    connection = _Connection(stream, ended)
    sending = asyncio.create_task(connection.send(request, target), name="relay-request-body")
    try:
        head = await connection.head(sending, HEAD_TIMEOUT_S)
    except BaseException:
        await _end((sending,), connection)
        raise
    return Answer(connection, sending, head)


def passed_on(headers: Iterable[tuple[bytes, bytes]], left_out: frozenset[bytes]) -> Headers:
    return [(name.lower(), value) for name, value in headers if name.lower() not in left_out]


class Answer(Response):
    """Streams the machine's body. Its own `__call__`, for starlette's reads the request's body to see a disconnect."""

    def __init__(self, connection: _Connection, sending: asyncio.Task[None], head: h11.Response) -> None:
        super().__init__(status_code=head.status_code)
        self.raw_headers = passed_on(head.headers, NOT_FOR_THE_CLIENT)
        self.fault = next((value.decode() for name, value in head.headers if name == _FAULT), None)
        self._connection, self._sending = connection, sending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pumping = asyncio.create_task(self._pump(send), name="relay-answer-body")
        gone = asyncio.create_task(self._gone(receive), name="relay-client-gone")
        try:
            await asyncio.wait({pumping, gone}, return_when=asyncio.FIRST_COMPLETED)
            if pumping.done():
                pumping.result()
        except errors.PeerError as error:
            # The client sees it too: uvicorn closes a connection whose answer was not brought to its end.
            log.warning("answer broke off", extra={"path": scope["path"], "error": str(error)})
        finally:
            # How the request's body ended matters no more once the answer is through or nobody wants it.
            await _end((pumping, gone, self._sending), self._connection)

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._connection.pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _gone(self, receive: Receive) -> None:
        """Returns when the client has left; until the request's body is through, its reader sees that."""
        await asyncio.wait({self._sending})
        if _failed(self._sending):
            return
        while (await receive())["type"] != "http.disconnect":
            continue


class _Connection:
    """One request and its answer on one stream."""

    def __init__(self, stream: Stream, ended: Callable[[], object]) -> None:
        self._stream = stream
        self._ended = ended
        self._h11 = h11.Connection(h11.CLIENT)

    async def send(self, request: Request, target: str) -> None:
        """The head, then the body as it comes."""
        headers = [(b"host", b"machine"), *passed_on(request.headers.raw, _NOT_FOR_THE_MACHINE)]
        names = {name for name, _ in headers}
        chunked = b"transfer-encoding" in {name.lower() for name, _ in request.headers.raw}
        if chunked and b"content-length" not in names:
            headers.append((b"transfer-encoding", b"chunked"))
        try:
            await self._send(h11.Request(method=request.method, target=target, headers=headers))
            async with asyncio.timeout(HEAD_TIMEOUT_S) as patience:
                async for piece in request.stream():
                    patience.reschedule(asyncio.get_running_loop().time() + HEAD_TIMEOUT_S)
                    if piece:
                        await self._send(h11.Data(data=piece))
            await self._send(h11.EndOfMessage())
        except TimeoutError as error:
            raise errors.PeerError(f"the client sent nothing for {HEAD_TIMEOUT_S:.0f} s") from error
        except OSError:
            pass  # the machine takes no more; its answer, which may be there already, says why

    async def _send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        if data := self._h11.send(event):
            await self._stream.send(data)

    async def head(self, sending: asyncio.Task[None], timeout_s: float) -> h11.Response:
        """The answer's status and headers, which may come before the request's body is through."""
        receiving = asyncio.create_task(self._response(), name="relay-answer-head")
        sending.add_done_callback(lambda task: receiving.cancel() if _failed(task) else None)
        try:
            # An upload takes as long as it takes; then the machine's time begins.
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(timeout_s):
                return await receiving
        except TimeoutError as error:
            raise errors.PeerError(f"relay: the machine did not answer within {timeout_s:.0f} s") from error
        except asyncio.CancelledError:
            if _failed(sending):
                raise errors.PeerError(f"relay: the request broke off: {sending.exception()}") from None
            raise
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    async def _response(self) -> h11.Response:
        for _ in range(MAX_INFORMATIONAL):
            event = await self._event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise errors.PeerError(f"relay: the machine answered out of turn: {type(event).__name__}")
        raise errors.PeerError("relay: the machine sent no answer, but one 1xx after another")

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise errors.PeerError("relay: the machine broke off in the middle of its answer")

    async def _event(self) -> h11.Event:
        while True:
            try:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    self._h11.receive_data(await self._stream.receive())
                    continue
            except (h11.RemoteProtocolError, OSError) as error:
                raise errors.PeerError(f"relay: {str(error)[:MAX_ERROR]}") from error
            assert not isinstance(event, type)
            return event

    def close(self) -> None:
        self._stream.close()
        self._ended()


async def _end(tasks: Sequence[asyncio.Task[None]], connection: _Connection) -> None:
    """Cancel the tasks, and close the connection when none of them waits in it any more."""
    for task in tasks:
        task.cancel()
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        connection.close()


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
