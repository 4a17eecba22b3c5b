"""Answers in lines, one value a line, as they come: of what happens, and of what is written."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import h11
import msgspec

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
    **parameters: str,
) -> Iterator[Answered]:
    """The values. `timeout_s` bounds the wait for each piece, None: for ever. `PeerError`, or what the machine says."""
    assert operation.lines
    target = operation.target(parameters, query)
    with dial.connect(path, dial_lines.PORT_API, BEGIN_S) as stream:
        protocol = h11.Connection(h11.CLIENT)
        head = protocol.send(exchange.request_head(operation.method, target, 0)) or b""
        protocol.send(h11.EndOfMessage())
        try:
            stream.sendall(head)
            yield from _values(operation, stream, protocol, timeout_s)
        except (OSError, h11.ProtocolError) as error:
            raise errors.PeerError(f"{operation.method} {operation.path}: {error}") from error


def _values(
    operation: Operation[Asked, Answered], stream: socket.socket, protocol: h11.Connection, timeout_s: float | None
) -> Iterator[Answered]:
    head = _next(stream, protocol, BEGIN_S)
    assert isinstance(head, h11.Response)
    rest = b""
    while not isinstance(event := _next(stream, protocol, timeout_s), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            continue
        rest += bytes(event.data)
        if head.status_code == operation.status:
            *whole, rest = rest.split(b"\n")
            for line in whole:
                yield msgspec.json.decode(line, type=operation.answered)
        if len(rest) > MOST_LINE_BYTES:
            raise errors.PeerError(f"{operation.path}: a line is longer than {MOST_LINE_BYTES} bytes")
    if head.status_code != operation.status:
        body = msgspec.json.decode(rest, type=faults.ErrorBody)
        raise faults.error_of(head.status_code, body.code, body.error, body.hint)


def _next(stream: socket.socket, protocol: h11.Connection, timeout_s: float | None) -> h11.Event:
    stream.settimeout(timeout_s)
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(stream.recv(exchange.READ_BYTES))
            continue
        if isinstance(event, h11.ConnectionClosed) or not isinstance(event, h11.Event):
            raise ConnectionError("the machine closed the connection")
        if isinstance(event, h11.InformationalResponse):
            continue
        return event
