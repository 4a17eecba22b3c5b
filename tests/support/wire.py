"""HTTP as bytes over a socket, for what no client library would send or tell."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import h11

WAIT_S = 20.0


class Answer(NamedTuple):
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str]

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding") == "chunked"


@contextlib.contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection to the server at `url`."""
    place = urlsplit(url)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 80), WAIT_S) as stream:
        yield stream


def read_all(stream: socket.socket) -> bytes:
    """Until the other side has ended."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := stream.recv(65536):
            said += piece
    return said


def exchange(url: str, request: bytes) -> bytes:
    """All that comes for `request` on one connection, until the server ends it."""
    with connected(url) as stream:
        stream.sendall(request)
        return read_all(stream)


def parse_answers(said: bytes, *methods: str) -> list[Answer]:
    """The answers to requests of these methods, one after the other; AssertionError when anything is left."""
    found = []
    for index, method in enumerate(methods):
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(said)
        if index == len(methods) - 1:
            parser.receive_data(b"")
        answer, said = _parse_one(parser)
        found.append(answer)
    assert said == b"", f"more came than was asked for: {said[:200]!r}"
    return found


def _parse_one(parser: h11.Connection) -> tuple[Answer, bytes]:
    status, headers, body = 0, {}, b""
    while True:
        event = parser.next_event()
        if isinstance(event, h11.Response):
            status, headers = event.status_code, _text(event.headers)
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, body, _text(event.headers)), parser.trailing_data[0]
        else:
            assert isinstance(event, h11.InformationalResponse), f"no whole answer: {event!r}"


def _text(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in headers}


def wait_until(holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """AssertionError when it does not come to be."""
    until_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until_s, "not in time"
        time.sleep(0.05)
