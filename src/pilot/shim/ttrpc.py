"""ttrpc, containerd's RPC over a Unix socket: unary calls, both ends, on asyncio.

    frame     data length (u32, big-endian) · stream (u32) · type (u8) · flags (u8) · data
    request   type 1: {service, method, payload, …} on an odd stream of the client's own choice
    response  type 2: {status, payload} on the same stream, in whatever order

Answers carry gRPC's status codes. Streams (type 3, flags) belong to services that are not here.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import itertools
import logging
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Generic, Protocol, TypeVar

from .. import errors
from ..wire import faults
from . import protobuf
from .protobuf import Message

MOST_BYTES = 4 << 20
REQUEST, RESPONSE = 1, 2
_HEADER = struct.Struct(">IIBB")
_log = logging.getLogger(__name__)


class Code(enum.IntEnum):
    """Of gRPC's status codes those that are told here."""

    OK = 0
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


# By the codes of the pilot API (`wire/faults.py`); all others are UNKNOWN.
CODES: Mapping[str, Code] = {
    "invalid_argument": Code.INVALID_ARGUMENT,
    "command_not_found": Code.INVALID_ARGUMENT,
    "command_not_executable": Code.INVALID_ARGUMENT,
    "deadline_exceeded": Code.DEADLINE_EXCEEDED,
    "not_found": Code.NOT_FOUND,
    "already_exists": Code.ALREADY_EXISTS,
    "resource_exhausted": Code.RESOURCE_EXHAUSTED,
    "failed_precondition": Code.FAILED_PRECONDITION,
    "unimplemented": Code.UNIMPLEMENTED,
    "internal": Code.INTERNAL,
    "unavailable": Code.UNAVAILABLE,
    "host_lacks": Code.FAILED_PRECONDITION,
    "peer_failed": Code.UNAVAILABLE,
}


class Request(Message, frozen=True, kw_only=True):
    """ttrpc.Request."""

    service: Annotated[str, 1] = ""
    method: Annotated[str, 2] = ""
    payload: Annotated[bytes, 3] = b""
    timeout_nano: Annotated[int, 4] = 0


class Status(Message, frozen=True, kw_only=True):
    """google.rpc.Status."""

    code: Annotated[Code, 1] = Code.OK
    message: Annotated[str, 2] = ""


class Response(Message, frozen=True, kw_only=True):
    """ttrpc.Response."""

    status: Annotated[Status | None, 1] = None
    payload: Annotated[bytes, 2] = b""


class Unimplemented(errors.PilotError):
    """No such method, or none that a machine could carry out."""


_Asked = TypeVar("_Asked", bound=Message)


class Bound(Protocol):
    """A method, whatever it takes."""

    async def call(self, payload: bytes) -> Message:
        """Its answer to this message's bytes."""
        ...


@dataclasses.dataclass(frozen=True)
class Method(Generic[_Asked]):
    """What a method takes, and who answers."""

    asked: type[_Asked]
    answer: Callable[[_Asked], Awaitable[Message]]

    async def call(self, payload: bytes) -> Message:
        return await self.answer(protobuf.decode(payload, self.asked))


def frame(stream: int, kind: int, message: Message) -> bytes:
    """A message as it is sent."""
    data = protobuf.encode(message)
    return _HEADER.pack(len(data), stream, kind, 0) + data


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, int, bytes] | None:
    """Stream, type and data of the next frame; None at the end. `PeerError` for one that nobody may send."""
    try:
        size, stream, kind, _ = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if size > MOST_BYTES:
            raise errors.PeerError(f"ttrpc: a frame of {size} bytes, where {MOST_BYTES} are the most")
        return stream, kind, await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


# ---- server ---------------------------------------------------------------------------------------------------------


class Connection:
    """A client's: each call is a task of its own; the calls of one that goes are given up."""

    def __init__(self, services: Mapping[str, Mapping[str, Bound]], writer: asyncio.StreamWriter) -> None:
        self._services = services
        self._writer = writer
        self._calls: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Until the client closes it."""
        try:
            while (found := await read_frame(reader)) is not None:
                stream, kind, data = found
                if kind != REQUEST:
                    raise errors.PeerError(f"ttrpc: a frame of type {kind}, where requests are meant")
                call = asyncio.create_task(self._answer(stream, data), name=f"ttrpc {stream}")
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
        except errors.PeerError as error:
            _log.error("%s", error)
        finally:
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)
            self._writer.close()

    async def _answer(self, stream: int, data: bytes) -> None:
        response = await self._respond(data)
        with contextlib.suppress(ConnectionError):  # whoever asked has gone
            self._writer.write(frame(stream, RESPONSE, response))
            await self._writer.drain()

    async def _respond(self, data: bytes) -> Response:
        try:
            request = protobuf.decode(data, Request)
            method = self._services.get(request.service, {}).get(request.method)
            if method is None:
                raise Unimplemented(f"{request.service}/{request.method}: there is no such method")
            return Response(payload=protobuf.encode(await method.call(request.payload)))
        except errors.PilotError as error:
            return Response(status=Status(code=_code(error), message=_text(error)))
        except OSError as error:
            return Response(status=Status(code=Code.UNKNOWN, message=f"{error}"))
        except Exception as error:  # noqa: BLE001 - an edge: whoever asked is told, and others are served on
            _log.exception("ttrpc: a call")
            return Response(status=Status(code=Code.INTERNAL, message=f"{type(error).__name__}: {error}"))


def _code(error: errors.PilotError) -> Code:
    if isinstance(error, Unimplemented):
        return Code.UNIMPLEMENTED
    return CODES.get(faults.fault_of(error).code, Code.UNKNOWN)


def _text(error: errors.PilotError) -> str:
    return f"{error} ({error.hint})" if error.hint else str(error)


# ---- client ---------------------------------------------------------------------------------------------------------


class Client:
    """Calls over one connection, one at a time; a connection that broke is made anew with the next call."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._streams = itertools.count(1, 2)
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, service: str, method: str, asked: Message, *, timeout_s: float) -> bytes:
        """The answer's payload; `PeerError` when there is none, or a refusal."""
        what, payload = f"{service}/{method}", protobuf.encode(asked)
        request = Request(service=service, method=method, payload=payload, timeout_nano=int(timeout_s * 1e9))
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._exchange(request)
        except (OSError, TimeoutError, errors.PeerError) as error:
            self.close()
            raise errors.PeerError(f"{what}: {error or 'no answer in time'}") from error
        except BaseException:
            self.close()
            raise
        if response.status is not None and response.status.code != Code.OK:
            raise errors.PeerError(f"{what}: {response.status.message}")
        return response.payload

    async def _exchange(self, request: Request) -> Response:
        if self._open is None:
            self._open = await asyncio.open_unix_connection(self._path)
        reader, writer = self._open
        stream = next(self._streams)
        writer.write(frame(stream, REQUEST, request))
        await writer.drain()
        found = await read_frame(reader)
        if found is None or found[:2] != (stream, RESPONSE):
            raise errors.PeerError("the connection ended before the answer")
        return protobuf.decode(found[2], Response)

    def close(self) -> None:
        """End the connection."""
        if self._open is not None:
            self._open[1].close()
            self._open = None
