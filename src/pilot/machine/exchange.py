"""One request over a connection of its own, with a deadline for all of it: blocking, whatever the machine sends.

Raises what went wrong as it is: `OSError` (no connection, no answer in time, closed early), `h11.ProtocolError` (no
HTTP), `PeerError` (the dial contract was broken).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

import h11
import msgspec

from .. import errors
from ..wire import dial as lines
from . import dial

MAX_ANSWER_BYTES = 1 << 20
READ_BYTES = 65536
HOST = "machine"
MAX_ERROR = 1000
Value = TypeVar("Value")


class Answer(msgspec.Struct, frozen=True):
    """All of an answer. Names of headers are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def decoded(what: str, status: int, data: bytes, kind: type[Value]) -> Value:
    """What an answer says in JSON. `PeerError` when it is not what was meant."""
    try:
        return msgspec.json.decode(data, type=kind)
    except errors.UNREADABLE as error:
        told = f"{str(error)[:MAX_ERROR]}: {data[:80]!r}"
        raise errors.PeerError(f"{what}: answer {status}: {told}") from error


def exchange(path: str, timeout_s: float, request: h11.Request, body: bytes) -> Answer:
    """Dial `path`, ask, and read the whole answer."""
    end_s = time.monotonic() + timeout_s
    with dial.connect(path, lines.PORT_API, timeout_s) as stream:
        return converse(stream, h11.Connection(h11.CLIENT), end_s, request, body)


def request_head(
    method: str, target: str, size_bytes: int, *, close: bool = True, headers: Sequence[tuple[str, str]] = ()
) -> h11.Request:
    """A request that carries so many bytes; with `close` the connection ends after the answer."""
    named = [("Host", HOST), ("Content-Length", str(size_bytes)), *headers]
    return h11.Request(method=method, target=target, headers=[*named, ("Connection", "close")] if close else named)


def converse(
    stream: socket.socket, protocol: h11.Connection, end_s: float, request: h11.Request, body: bytes
) -> Answer:
    """One request and its answer on a connection that is there already."""
    events = (request, h11.Data(data=body), h11.EndOfMessage())
    stream.settimeout(left_s(end_s))
    stream.sendall(b"".join(protocol.send(event) or b"" for event in events))
    while not isinstance(event := next_event(stream, protocol, end_s), h11.Response):
        pass  # it only informs
    return read_body(stream, protocol, end_s, event)


def read_body(stream: socket.socket, protocol: h11.Connection, end_s: float, head: h11.Response) -> Answer:
    """The rest of an answer whose head has come."""
    parts = bytearray()
    while True:
        match next_event(stream, protocol, end_s):
            case h11.Data(data=data):
                parts += data
                if len(parts) > MAX_ANSWER_BYTES:
                    raise ConnectionError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            case h11.EndOfMessage():
                return Answer(head.status_code, headers_of(head), bytes(parts))


def next_event(stream: socket.socket, protocol: h11.Connection, end_s: float) -> h11.Event:
    """What comes next of an answer; `ConnectionError` when its connection ends before it does."""
    while (event := protocol.next_event()) is h11.NEED_DATA:
        stream.settimeout(left_s(end_s))
        protocol.receive_data(stream.recv(READ_BYTES))
    if isinstance(event, h11.ConnectionClosed) or not isinstance(event, h11.Event):
        raise ConnectionError("the machine closed the connection")
    return event


def headers_of(head: h11.Response | h11.InformationalResponse) -> dict[str, str]:
    """By lower-case name."""
    return {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}


def left_s(end_s: float) -> float:
    """Until the deadline; `TimeoutError` when it has passed."""
    left = end_s - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
