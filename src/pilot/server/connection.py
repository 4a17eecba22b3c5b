"""HTTP/1.1 on one stream: requests in, answers out, one after the other, until either side has had enough.

    idle ──request──► endpoint ──Response──► head, chunks, end ──keep-alive──► idle
                          └──WebSocket──────► frames until closed ──► end

An endpoint's error becomes the JSON error shape as long as the head is not out; after that the connection is aborted,
so that no client takes half an answer for a whole one. Nothing here knows what the calls mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any

import h11

from .. import errors
from ..wire import faults, http, websocket
from ..wire.operations import Operation
from . import response, routing
from .call import IDLE_TIMEOUT_S, Call
from .stream import Stream

KEEP_ALIVE_S = 300.0
# Of a body that nobody reads: for how long, and how much of it, its client may still send before the connection ends.
LINGER_S = 2.0
LINGER_BYTES = 1 << 20
_log = logging.getLogger(__name__)
ErrorAnswer = Callable[[str, BaseException], response.Response]
# Entered for the length of a call; what it raises is the answer.
Admission = Callable[[Operation[Any, Any]], AbstractContextManager[None]]


def default_error_answer(_path: str, error: BaseException) -> response.Response:
    """The error shape of the pilot API."""
    return response.of_error(error)


def _everybody(_operation: Operation[Any, Any]) -> AbstractContextManager[None]:
    return nullcontext()


class Connection:
    """Serves one stream. `headers` go on every answer; `error_answer` shapes errors, given the request's path."""

    def __init__(
        self,
        stream: Stream,
        router: routing.Router,
        *,
        headers: Sequence[tuple[str, str]] = (),
        error_answer: ErrorAnswer = default_error_answer,
        admission: Admission = _everybody,
        head_bytes: int = http.MAX_HEAD_BYTES,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self._stream = stream
        self._router = router
        self._headers = list(headers)
        self._error_answer = error_answer
        self._admission = admission
        self._keep_alive_s = keep_alive_s
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=head_bytes)

    async def serve(self) -> None:
        """Until the connection ends; closes the stream. Never raises for what a client does."""
        try:
            while await self._serve_one():
                self._protocol.start_next_cycle()
            await self._stream.close()
        except (errors.PeerError, h11.ProtocolError):
            # The client went away or broke HTTP where no answer was possible any more.
            self._stream.abort()
        except BaseException:
            self._stream.abort()
            raise

    async def _serve_one(self) -> bool:
        """One request; True when another may follow."""
        try:
            event = await self._next_request()
        except h11.RemoteProtocolError as error:
            refusal = faults.InvalidRequest(f"not an HTTP/1.1 request: {error}")
            await self._send(self._error_answer("", refusal))
            return False
        if event is None:
            return False
        call: Call | None = None
        try:
            request = http.parse_request(event)
            upgrade = websocket.want_upgrade(request.headers)
            match = self._router.find(request.method, request.path, websocket=upgrade)
            call = Call(request, match.parameters, self._stream, self._protocol, self._next_event)
            answer = await self._run(match.route, call)
        except Exception as error:  # noqa: BLE001 - the edge: every error is reported here, once
            answer = self._report(event.target.decode("ascii", "replace"), call, error)
        if answer is not None:
            await self._send(answer)
        return answer is not None and self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE

    async def _run(self, route: routing.Route, call: Call) -> response.Response | None:
        try:
            async with asyncio.timeout(route.operation.deadline_s) as deadline:
                with self._admission(route.operation):
                    answer = await route.endpoint(call)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            row = route.operation
            raise faults.DeadlineExceeded(f"{row.id}: not done within {row.deadline_s:g} s") from error
        if call.websocket is not None:
            await call.websocket.farewell()
        return answer

    def _report(self, target: str, call: Call | None, error: Exception) -> response.Response | None:
        """The answer that tells of `error`, or None when nobody can be told over HTTP."""
        if not isinstance(error, errors.PilotError | OSError):
            _log.exception("%s: internal error", target.partition("?")[0])
        if call is not None and call.websocket is not None:
            _log.warning("%s: websocket: %s", target.partition("?")[0], error)
            return None
        return self._error_answer(target.partition("?")[0], error)

    async def _next_request(self) -> h11.Request | None:
        """The next request's head; None when the client is done, or idle for too long."""
        while (event := self._next_event()) is h11.NEED_DATA:
            try:
                async with asyncio.timeout(self._keep_alive_s):
                    self._protocol.receive_data(await self._stream.read())
            except TimeoutError:
                return None
        if not isinstance(event, h11.Request):
            return None
        if not _has_body(event):
            self._next_event()  # the end of the message, which is here already
        return event

    def _next_event(self) -> object:
        return self._protocol.next_event()

    async def _send(self, answer: response.Response) -> None:
        # A body that nobody read would be taken for the next request: say that the connection ends instead.
        unread = self._protocol.their_state is h11.SEND_BODY
        headers = [*self._headers, *answer.headers, *([("Connection", "close")] if unread else [])]
        self._write(h11.Response(status_code=answer.status, headers=headers))
        if isinstance(answer.body, bytes):
            if answer.body:
                self._write(h11.Data(data=answer.body))
        else:
            await self._send_chunks(answer.body)
        self._write(h11.EndOfMessage())
        await self._drain()
        if unread:
            await self._linger()

    async def _linger(self) -> None:
        """Take what the client still sends of its body: to end the connection before is to take its answer back, as the
        kernel then tells it of a reset (of a Unix socket, at its next write)."""
        left = LINGER_BYTES
        with contextlib.suppress(TimeoutError, h11.RemoteProtocolError, errors.PeerError):
            async with asyncio.timeout(LINGER_S):
                while left > 0 and self._protocol.their_state is h11.SEND_BODY:
                    if self._next_event() is h11.NEED_DATA:
                        data = await self._stream.read()
                        left -= len(data)
                        self._protocol.receive_data(data)

    async def _send_chunks(self, chunks: AsyncIterator[bytes]) -> None:
        async with aclosing(chunks) as body:  # type: ignore[type-var]
            try:
                async for chunk in body:
                    self._write(h11.Data(data=chunk))
                    await self._drain()
            except (errors.PilotError, OSError) as error:
                # The head is out: a cut connection is the only honest way left to say that the body is not whole.
                _log.warning("answer cut short: %s", error)
                raise errors.PeerError(f"answer cut short: {error}") from error

    def _write(self, event: h11.Event) -> None:
        self._stream.write(self._protocol.send(event) or b"")

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                await self._stream.drain()
        except TimeoutError as error:
            raise errors.PeerError(f"the client read nothing for {IDLE_TIMEOUT_S:g} s") from error


def _has_body(request: h11.Request) -> bool:
    """Whether bytes follow the head (RFC 9112, 6.3)."""
    headers = dict(request.headers)
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
