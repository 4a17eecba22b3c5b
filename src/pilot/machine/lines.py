"""Answers in lines, one value a line, as they come: of what happens, and of what is written.

`read` blocks; `follow` is the same on asyncio, for whoever follows many machines.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Generic, NamedTuple

import h11

from .. import errors
from ..wire import dial as dial_lines
from ..wire import faults
from ..wire.operations import Answered, Asked, Operation
from . import dial, exchange

BEGIN_S = 30.0
MOST_LINE_BYTES = 1 << 20


def read(
    path: str,
    operation: Operation[Asked, Answered],
    *,
    query: Sequence[tuple[str, str]] = (),
    timeout_s: float | None = BEGIN_S,
    end_s: float = math.inf,
    **parameters: str,
) -> Iterator[Answered]:
    """The values. `timeout_s` bounds the wait for each piece, None: for ever. `PeerError`, or what the machine says.

    `end_s`: of `time.monotonic`, when it has ended at the latest, whatever the machine sends; values that have come by
    then have been yielded.
    """
    assert operation.lines
    target = operation.target(parameters, query)
    patience = _Patience(timeout_s, end_s)
    try:
        with dial.connect(path, dial_lines.PORT_API, patience.begin_s()) as stream:
            protocol = h11.Connection(h11.CLIENT)
            stream.settimeout(patience.begin_s())
            stream.sendall(_asked(protocol, operation, target))
            yield from _values(operation, stream, protocol, patience)
    except (OSError, h11.ProtocolError) as error:
        raise errors.PeerError(f"{operation.method} {operation.path}: {error}") from error


class _Patience(NamedTuple):
    """How long there is to wait for what comes next; `TimeoutError` when all of the time has passed."""

    piece_s: float | None
    end_s: float

    def begin_s(self) -> float:
        return min(BEGIN_S, exchange.left_s(self.end_s))

    def next_s(self) -> float | None:
        left_s = exchange.left_s(self.end_s)
        if self.piece_s is None:
            return None if math.isinf(left_s) else left_s
        return min(self.piece_s, left_s)


async def follow(
    path: str, operation: Operation[Asked, Answered], *, query: Sequence[tuple[str, str]] = (), **parameters: str
) -> AsyncIterator[Answered]:
    """The values, for as long as there are any. `PeerError`, or what the machine says."""
    assert operation.lines
    protocol = h11.Connection(h11.CLIENT)
    answer = _Answer(operation)
    stream = await dial.open_stream(path, dial_lines.PORT_API, BEGIN_S)
    try:
        await stream.send(_asked(protocol, operation, operation.target(parameters, query)))
        while not isinstance(event := await _next_event(stream, protocol, answer), h11.EndOfMessage):
            for value in answer.take(event):
                yield value
        answer.end()
    except (OSError, h11.ProtocolError) as error:
        raise errors.PeerError(f"{operation.method} {operation.path}: {error}") from error
    finally:
        stream.close()


async def _next_event(stream: dial.Stream, protocol: h11.Connection, answer: _Answer[Answered]) -> h11.Event:
    """Bounded until the answer has begun; what follows comes when it happens."""
    async with asyncio.timeout(None if answer.has_begun else BEGIN_S):
        while (event := _event(protocol)) is None:
            protocol.receive_data(await stream.receive())
        return event


def _values(
    operation: Operation[Asked, Answered], stream: socket.socket, protocol: h11.Connection, patience: _Patience
) -> Iterator[Answered]:
    answer = _Answer(operation)
    while not isinstance(event := _next(stream, protocol, answer, patience), h11.EndOfMessage):
        yield from answer.take(event)
    answer.end()


def _next(stream: socket.socket, protocol: h11.Connection, answer: _Answer[Answered], patience: _Patience) -> h11.Event:
    while (event := _event(protocol)) is None:
        stream.settimeout(patience.next_s() if answer.has_begun else patience.begin_s())
        protocol.receive_data(stream.recv(exchange.READ_BYTES))
    return event


def _asked(protocol: h11.Connection, operation: Operation[Asked, Answered], target: str) -> bytes:
    head = protocol.send(exchange.request_head(operation.method, target, 0)) or b""
    protocol.send(h11.EndOfMessage())
    return head


def _event(protocol: h11.Connection) -> h11.Event | None:
    """None when more has to come first."""
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            return None
        if isinstance(event, h11.ConnectionClosed) or not isinstance(event, h11.Event):
            raise ConnectionError("the machine closed the connection")
        if not isinstance(event, h11.InformationalResponse):
            return event


class _Answer(Generic[Answered]):
    """What has come of an answer so far."""

    def __init__(self, operation: Operation[Asked, Answered]) -> None:
        self._operation = operation
        self._answered: type[Answered] = operation.answered
        self._status: int | None = None
        self._rest = b""

    @property
    def has_begun(self) -> bool:
        return self._status is not None

    def take(self, event: h11.Event) -> Iterator[Answered]:
        """The values that are whole now."""
        if isinstance(event, h11.Response):
            self._status = event.status_code
        if not isinstance(event, h11.Data):
            return
        self._rest += bytes(event.data)
        if self._status == self._operation.status:
            *whole, self._rest = self._rest.split(b"\n")
            for line in whole:
                yield exchange.decoded(self._operation.path, self._status, line, self._answered)
        if len(self._rest) > MOST_LINE_BYTES:
            raise errors.PeerError(f"{self._operation.path}: a line is longer than {MOST_LINE_BYTES} bytes")

    def end(self) -> None:
        """Raises what was said instead of values."""
        if self._status is not None and self._status != self._operation.status:
            body = exchange.decoded(self._operation.path, self._status, self._rest, faults.ErrorBody)
            raise faults.error_of(self._status, body.code, body.error, body.hint)
