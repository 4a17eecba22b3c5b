"""The client's WebSocket over a socket pair: what has come is told before how it ended."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from pilot import errors
from pilot.client import websocket

SAID = b"\x82\x04\x01out"  # a frame of the server is not masked
CLOSED = b"\x88\x02" + struct.pack("!H", 1000)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("together", range(len(SAID + CLOSED) + 1))
def test_what_came_with_the_handshake_is_told_also_when_the_end_has_come(
    pair: tuple[socket.socket, socket.socket], together: int
) -> None:
    """A quick command under load: the answer, its frames and the end are all there at the first look."""
    ours, theirs = pair
    theirs.sendall((SAID + CLOSED)[together:])
    theirs.shutdown(socket.SHUT_WR)
    found = websocket.WebSocket(ours, (SAID + CLOSED)[:together])
    told = [message for _ in range(3) if found.close_code is None for message in found.read()]
    assert (told, found.close_code) == ([b"\1out"], websocket.NORMAL)


def test_an_end_without_goodbye_is_abnormal_after_what_came(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    found = websocket.WebSocket(ours, SAID + b"\x82\x04\x01ou")
    assert (list(found.read()), found.close_code) == ([b"\1out"], websocket.ABNORMAL)


def test_why_the_server_closed_is_kept(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    said = struct.pack("!H", 1011) + "exec: “a”: no such file".encode() + b"\xff"
    theirs.sendall(bytes([0x88, len(said)]) + said)
    found = websocket.WebSocket(ours, b"")
    assert list(found.read()) == []
    assert (found.close_code, found.close_reason) == (1011, "exec: “a”: no such file\ufffd")


def test_a_connection_that_breaks_tells_what_came_before(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.sendall(b"never read")
    theirs.close()  # with that unread, which is a reset
    found = websocket.WebSocket(ours, SAID)
    told = found.read()
    assert next(told) == b"\1out"
    with pytest.raises(errors.PeerError, match="the connection broke: Connection reset"):
        next(told)
