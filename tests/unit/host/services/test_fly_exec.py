"""A command that ends before it has read all that it is given is told as it ended."""

from __future__ import annotations

import io
import socket
import struct

import pytest

from pilot.host.services import fly_exec
from pilot.machine import web_socket
from pilot.wire import exec_frames, websocket

_EXIT = exec_frames.text(exec_frames.Exit(2)).encode()
# Frames of the server, which are not masked: of stderr, the exit, and the goodbye.
SAID = b"\x82\x04\x02why" + b"\x81" + bytes([len(_EXIT)]) + _EXIT + b"\x88\x02" + struct.pack("!H", 1000)


@pytest.mark.parametrize("has_unread", [False, True])
def test_what_it_said_is_told(monkeypatch: pytest.MonkeyPatch, has_unread: bool) -> None:
    ours, theirs = socket.socketpair()
    if has_unread:
        ours.sendall(b"unread")  # then the end of the other side resets the connection
    theirs.sendall(SAID)
    theirs.close()
    opened = web_socket.Socket(ours, websocket.WebSocket(websocket.Side.CLIENT), 10)
    monkeypatch.setattr(web_socket, "open_socket", lambda *_: opened)
    command = fly_exec.Command("world", ("tar",), io.BytesIO(bytes(1 << 20)), 10)
    assert fly_exec.run("dial", command) == fly_exec.Result(2, b"", b"why")
