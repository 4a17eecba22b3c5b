"""The calling side: HTTP/1.1 requests and WebSockets over a stream that the caller dials. One stream per request.

answer = await client.request(stream, "PUT", "/v1/world", json=…, timeout_s=30)
answer.status, await answer.body(), async for piece in answer.chunks()
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

import h11
import msgspec

from .. import errors
from ..wire import faults, http, websocket
from .call import WebSocket
from .stream import Stream

_T = TypeVar("_T")
MAX_BODY_BYTES = 64 << 20
HOST = "pilot"


class Refused(errors.PilotError):
    """The other side answered with an error: its status, and the code and text of its JSON."""

    def __init__(self, what: str, status: int, code: str, text: str, hint: str | None = None) -> None:
        super().__init__(f"{what}: {text}", hint=hint)
        self.status = status
        self.code = code


class Answer:
    """The head of an answer; its body is read by one of the methods. Close it (`async with`), which ends the stream."""

    def __init__(self, what: str, stream: Stream, protocol: h11.Connection, head: h11.Response, idle_s: float) -> None:
        self.status: int = head.status_code
        self.headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        self._what = what
        self._stream = stream
        self._protocol = protocol
        self._idle_s = idle_s

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stream.abort()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, one item per chunk read; `PeerError` when it is cut short or stalls."""
        while True:
            event = await _next_event(self._what, self._stream, self._protocol, self._idle_s)
            if isinstance(event, h11.EndOfMessage):
                return
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of an NDJSON body; blank ones are left out."""
        rest = b""
        async for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
        if rest.strip():
            yield rest

    async def body(self, limit_bytes: int = MAX_BODY_BYTES) -> bytes:
        """The whole body; then the stream is closed."""
        parts = bytearray()
        async for chunk in self.chunks():
            parts += chunk
            if len(parts) > limit_bytes:
                raise errors.PeerError(f"{self._what}: answer larger than {limit_bytes} bytes")
        self._stream.abort()
        return bytes(parts)

    async def json(self, kind: type[_T]) -> _T:
        """The body of a good answer; `Refused` for an error status, `PeerError` for another shape."""
        body = await self.body()
        if self.status >= 400:
            raise _refusal(self._what, self.status, body)
        try:
            return msgspec.json.decode(body or b"null", type=kind)  # an answer without a body is None
        except errors.UNREADABLE as error:
            raise errors.PeerError(f"{self._what}: answer: {error}") from error


def _refusal(what: str, status: int, body: bytes) -> Refused:
    try:
        shape = msgspec.json.decode(body, type=faults.ErrorBody)
    except errors.UNREADABLE:
        return Refused(what, status, "unknown", f"status {status}: {body[:200].decode(errors='replace')}")
    return Refused(what, status, shape.code, shape.error, shape.hint)


async def request(
    stream: Stream,
    method: str,
    target: str,
    *,
    json: object = None,
    body: bytes | AsyncIterator[bytes] = b"",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
    idle_s: float = 300.0,
) -> Answer:
    """Send a request and return when the answer's head is there (`timeout_s`); takes the stream over, also on errors.

    `idle_s` bounds each later wait for a piece of the body.
    """
    what = f"{method} {target.partition('?')[0]}"
    payload = msgspec.json.encode(json) if json is not None else body
    try:
        async with asyncio.timeout(timeout_s):
            return await _request(what, stream, method, target, payload, dict(headers or {}), idle_s)
    except TimeoutError as error:
        stream.abort()
        raise errors.PeerError(f"{what}: no answer within {timeout_s:g} s") from error
    except h11.ProtocolError as error:
        stream.abort()
        raise errors.PeerError(f"{what}: {error}") from error
    except BaseException:
        stream.abort()
        raise


async def _request(
    what: str, stream: Stream, method: str, target: str, payload: bytes | AsyncIterator[bytes],
    headers: dict[str, str], idle_s: float,
) -> Answer:  # fmt: skip
    protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=http.MAX_HEAD_BYTES)
    length = {"Content-Length": str(len(payload))} if isinstance(payload, bytes) else {"Transfer-Encoding": "chunked"}
    all_headers = {"Host": HOST, **length, **headers}
    head = h11.Request(method=method, target=target, headers=list(all_headers.items()))
    stream.write(protocol.send(head) or b"")
    async for piece in _pieces(payload):
        stream.write(protocol.send(h11.Data(data=piece)) or b"")
        await stream.drain()
    stream.write(protocol.send(h11.EndOfMessage()) or b"")
    await stream.drain()
    while not isinstance(event := await _next_event(what, stream, protocol, None), h11.Response):
        pass
    return Answer(what, stream, protocol, event, idle_s)


async def _pieces(payload: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(payload, bytes):
        if payload:
            yield payload
        return
    async for piece in payload:
        yield piece


async def _next_event(what: str, stream: Stream, protocol: h11.Connection, timeout_s: float | None) -> object:
    while (event := protocol.next_event()) is h11.NEED_DATA:
        try:
            async with asyncio.timeout(timeout_s):
                data = await stream.read()
        except TimeoutError as error:
            raise errors.PeerError(f"{what}: the answer stalled for {timeout_s:g} s") from error
        try:
            protocol.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise errors.PeerError(f"{what}: {error}") from error
    if isinstance(event, h11.ConnectionClosed):
        raise errors.PeerError(f"{what}: the connection ended before the answer")
    return event


async def open_websocket(
    stream: Stream, target: str, *, headers: Sequence[tuple[str, str]] = (), timeout_s: float = 10.0
) -> WebSocket:
    """Upgrade a fresh stream; `Refused` when the other side answers with something else than 101."""
    what = f"websocket {target.partition('?')[0]}"
    protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=http.MAX_HEAD_BYTES)
    key = os.urandom(16)
    wanted = [("Host", HOST), *websocket.request_headers(key), *headers]
    stream.write(protocol.send(h11.Request(method="GET", target=target, headers=wanted)) or b"")
    stream.write(protocol.send(h11.EndOfMessage()) or b"")
    try:
        async with asyncio.timeout(timeout_s):
            event = await _next_event(what, stream, protocol, None)
            if isinstance(event, h11.Response):
                answer = Answer(what, stream, protocol, event, timeout_s)
                raise _refusal(what, answer.status, await answer.body())
    except TimeoutError as error:
        stream.abort()
        raise errors.PeerError(f"{what}: no answer within {timeout_s:g} s") from error
    if not isinstance(event, h11.InformationalResponse) or event.status_code != 101:
        stream.abort()
        raise errors.PeerError(f"{what}: unexpected answer")
    websocket.check_accepted(key, {name.decode(): value.decode("latin-1") for name, value in event.headers})
    trailing, _ = protocol.trailing_data
    return WebSocket(stream, websocket.WebSocket(websocket.Side.CLIENT, trailing=trailing))
