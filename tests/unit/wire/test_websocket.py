"""WebSocket messages over byte strings: client and server of wire/websocket.py against each other."""

from __future__ import annotations

import pytest

from pilot import errors
from pilot.wire import faults
from pilot.wire import websocket as ws


def pair(limit: int = ws.MAX_MESSAGE_BYTES) -> tuple[ws.WebSocket, ws.WebSocket]:
    return ws.WebSocket(ws.Side.CLIENT), ws.WebSocket(ws.Side.SERVER, max_message_bytes=limit)


def test_text_and_binary_both_ways_in_any_pieces() -> None:
    client, server = pair()
    client.send("grüß")
    client.send(bytes(range(256)) * 300)
    got: list[ws.Event] = []
    raw = client.take_output()
    for start in range(0, len(raw), 777):
        got += server.receive(raw[start : start + 777])
    assert got == ["grüß", bytes(range(256)) * 300]
    server.send(b"\x01x")
    assert client.receive(server.take_output()) == [b"\x01x"]


def test_ping_is_answered_and_close_is_told_once() -> None:
    client, server = pair()
    assert server.receive(b"\x89\x80\x00\x00\x00\x00") == []
    assert server.take_output() == b"\x8a\x00"
    server.close(4007, "seven")
    assert client.receive(server.take_output()) == [ws.Closed(4007, "seven")]
    assert client.closed
    assert server.receive(client.take_output()) == [ws.Closed(4007, "seven")]
    with pytest.raises(errors.PeerError):
        client.send("late")


def test_a_lost_connection_is_1006() -> None:
    _, server = pair()
    assert server.receive(b"") == [ws.Closed(1006)]
    server.close(1000)
    assert server.take_output() == b""


def test_too_big_a_message_closes_with_1009() -> None:
    client, server = pair(limit=1000)
    client.send(bytes(1001))
    assert server.receive(client.take_output()) == [ws.Closed(1009, "message too big")]
    assert client.receive(server.take_output()) == [ws.Closed(1009, "message too big")]


def test_bytes_that_are_no_frames_close_the_connection() -> None:
    _, server = pair()
    (event,) = server.receive(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
    assert isinstance(event, ws.Closed)
    assert server.closed


def test_handshake() -> None:
    key = b"0123456789abcdef"
    request = {name.lower(): value for name, value in ws.request_headers(key)}
    accepted = {name.lower(): value for name, value in ws.accept_headers(request)}
    ws.check_accepted(key, accepted)
    with pytest.raises(errors.PeerError):
        ws.check_accepted(b"another key 0000", accepted)
    with pytest.raises(faults.InvalidRequest):
        ws.accept_headers({**request, "sec-websocket-version": "8"})
