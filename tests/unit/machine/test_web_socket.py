"""A blocking WebSocket to a machine: what was said counts, also when whoever said it has gone."""

from __future__ import annotations

import socket
import struct

import pytest

from pilot.machine import web_socket
from pilot.wire import websocket

SAID = b"\x82\x04\x01out"  # a frame of the server is not masked
CLOSED = b"\x88\x02" + struct.pack("!H", 1000)


@pytest.mark.parametrize("reads_first", [False, True])
def test_what_was_said_is_told_also_when_the_goodbye_finds_nobody(reads_first: bool) -> None:
    """Our answer to its goodbye is written into a connection whose other end has closed."""
    ours, theirs = socket.socketpair()
    with web_socket.Socket(ours, websocket.WebSocket(websocket.Side.CLIENT), 10) as found:
        theirs.sendall(SAID + CLOSED)
        if reads_first:
            theirs.shutdown(socket.SHUT_WR)
        theirs.close()
        assert found.receive() == b"\1out"
        assert found.receive() == websocket.Closed(1000)
