"""Crowds of clients at a pilotd that has 512 descriptors: whatever they do, somebody else is answered at once."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.support import wire
from tests.support.host_child import HostChild, host_child
from tests.support.hostile import machine

from pilot.host.relay.crowd import PEER_SHARE, Kind, limits

DESCRIPTORS = 512
MOST_WATCHES = int(limits(DESCRIPTORS)[Kind.WATCH] * PEER_SHARE)  # of one address
CROWD = 600
CALLS = 6


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostChild]:
    with host_child(tmp_path_factory.mktemp("host"), DESCRIPTORS) as child:
        yield child


def _request(host: HostChild, path: str = "/v1/sprites", *headers: str, token: str | None = None) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: h", f"Authorization: Bearer {token or host.token}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _connect(host: HostChild, source: str = "127.0.0.1", receive_bytes: int | None = None) -> socket.socket:
    place = urlsplit(host.url)
    stream = socket.socket()
    stream.settimeout(wire.WAIT_S)
    if receive_bytes is not None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    stream.bind((source, 0))
    stream.connect((place.hostname, place.port))
    return stream


@contextlib.contextmanager
def _crowd(
    host: HostChild, says: bytes, count: int = CROWD, receive_bytes: int | None = None
) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has sent `says`."""
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            made.append(_connect(host, receive_bytes=receive_bytes))
            with contextlib.suppress(OSError):  # it has been ended already
                made[-1].sendall(says)
        yield made
    finally:
        for each in made:
            each.close()


def _ask(host: HostChild, source: str = "127.0.0.1") -> int:
    """The status of a call that needs store and kernel."""
    with _connect(host, source) as stream:
        stream.sendall(_request(host, "/v1/sprites", "Connection: close"))
        (answer,) = wire.parse_answers(wire.read_all(stream), "GET")
    return answer.status


def _begin(stream: socket.socket) -> bytes:
    """The begin of what it is answered; nothing when it was cut off."""
    with contextlib.suppress(ConnectionResetError):
        return stream.recv(12)
    return b""


def _others_are_answered(host: HostChild) -> None:
    """Of another address, and of the crowd's own."""
    assert [_ask(host, source) for source in ("127.0.0.2", "127.0.0.1") for _ in range(CALLS)] == [200] * 2 * CALLS
    assert host.descriptors() < DESCRIPTORS - 100


SAYINGS = {
    "silent": b"",
    "half a head": b"GET /v1/sprites HTTP/1.1\r\nHost: h\r\nX: ",
    "a long head without an end": b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 60000,
    "a body that does not come": b"POST /v1/sprites HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
    "strangers without end": b"GET /v1/sprites HTTP/1.1\r\nHost: h\r\n\r\n" * 5,
}


@pytest.mark.parametrize("name", SAYINGS)
def test_strangers(host: HostChild, name: str) -> None:
    with _crowd(host, SAYINGS[name]):
        _others_are_answered(host)


def test_half_closed(host: HostChild) -> None:
    with _crowd(host, SAYINGS["half a head"]) as crowd:
        for each in crowd:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_WR)
        _others_are_answered(host)


def test_heads_a_byte_at_a_time(host: HostChild) -> None:
    with _crowd(host, SAYINGS["half a head"]) as crowd:
        for _ in range(5):
            for each in crowd:
                with contextlib.suppress(OSError):
                    each.sendall(b"a")
        _others_are_answered(host)


def test_a_stranger_too_many_is_told_to_come_again(host: HostChild) -> None:
    with _connect(host, "127.0.0.3") as first:
        first.sendall(SAYINGS["half a head"])
        with _crowd(host, b"", 60), contextlib.ExitStack() as stack:
            # Of an address that has one no stranger ends; of its own others do.
            for _ in range(60):
                stack.enter_context(_connect(host, "127.0.0.3"))
            (answer,) = wire.parse_answers(wire.read_all(first), "GET")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_who_never_reads_what_it_was_refused_is_not_answered_for_ever(host: HostChild) -> None:
    """Requests one after the other, all 401; it takes no more than fits."""
    with _connect(host, receive_bytes=4096) as stream:
        stream.settimeout(1)
        sent, piece = 0, SAYINGS["strangers without end"] * 200
        with contextlib.suppress(TimeoutError):
            while sent < (64 << 20):
                sent += stream.send(piece)
        assert sent < (64 << 20)


@pytest.mark.parametrize("path", ["/v1/sprites", "/v1/events"])
def test_watchers_by_the_thousand(host: HostChild, path: str) -> None:
    """As many as may be are told what there is; those beyond, to come again; no other call waits for them."""
    watch = _request(host, path, "Accept: application/x-ndjson")
    with _crowd(host, watch) as crowd:
        firsts = [_begin(each) for each in crowd]
        # Nothing: it was ended before its request was read.
        assert {b"HTTP/1.1 200", b"HTTP/1.1 503"} <= set(firsts) <= {b"HTTP/1.1 200", b"HTTP/1.1 503", b""}
        assert firsts.count(b"HTTP/1.1 200") == MOST_WATCHES
        refused = crowd[firsts.index(b"HTTP/1.1 503")].recv(4096)
        assert b"\r\nretry-after: 1\r\n" in refused
        with _connect(host, "127.0.0.2") as other:
            other.sendall(watch)
            assert other.recv(12) == b"HTTP/1.1 200", "one address does not have them all"
        _others_are_answered(host)
    deadline = time.monotonic() + wire.WAIT_S
    while host.descriptors() > 100 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert host.descriptors() < 100, "nothing is left of them"


def test_big_answers_that_nobody_reads(host: HostChild) -> None:
    """Each holds two descriptors, for as long as it stands still."""
    standing: list[socket.socket] = []

    def answer(stream: socket.socket) -> None:
        stream.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
            while True:
                stream.send(b"x" * 65536)
        standing.append(stream.dup())

    read = _request(host, "/v1/sprites/web/fs/read?path=/big")
    with machine(pathlib.Path(host.dial), answer), _crowd(host, read, 150, receive_bytes=4096):
        _others_are_answered(host)
        assert standing
        for each in standing:
            each.close()
