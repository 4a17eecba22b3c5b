"""Frames of much output (wire/bulk.py) against wsproto, which knows nothing of them."""

from __future__ import annotations

import os

import hypothesis
from hypothesis import strategies as some
from wsproto import connection, events

from pilot.wire import bulk
from pilot.wire import websocket as ws

_SIZES = some.sampled_from([0, 1, 125, 126, 127, 65535, 65536, bulk.MOST_BYTES, bulk.MOST_BYTES + 1])
_FRAMES = some.one_of(
    some.builds(lambda size: [events.BytesMessage(os.urandom(size))], _SIZES),
    some.builds(lambda text: [events.TextMessage(text)], some.text(max_size=200)),
    some.builds(lambda payload: [events.Ping(payload)], some.binary(max_size=125)),
    some.builds(
        lambda sizes: (
            [events.BytesMessage(os.urandom(size), message_finished=False) for size in sizes]
            + [events.BytesMessage(b"end")]
        ),
        some.lists(_SIZES, min_size=1, max_size=3),
    ),
)


def oracle(raw: bytes) -> list[str | bytes]:
    """The messages that wsproto reads."""
    client = connection.Connection(connection.ConnectionType.CLIENT)
    client.receive_data(raw)
    found: list[str | bytes] = []
    parts: list[str | bytes] = []
    for event in client.events():
        if isinstance(event, events.TextMessage | events.BytesMessage):
            parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
            if event.message_finished:
                found.append(ws._joined(parts))
                parts = []
    return found


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(some.lists(_FRAMES, max_size=8), some.sampled_from([1, 3, 777, 65536, 1 << 30]))
def test_whatever_a_server_sends_in_whatever_pieces_is_read_as_by_wsproto(
    told: list[list[events.Event]], piece: int
) -> None:
    server = connection.Connection(connection.ConnectionType.SERVER)
    raw = b"".join(server.send(event) for group in told for event in group)
    piece = max(piece, len(raw) // 500)
    client = ws.WebSocket(ws.Side.CLIENT)
    got: list[ws.Event] = []
    for start in range(0, len(raw), piece):
        got += client.receive(raw[start : start + piece])
    assert got == oracle(raw)
    pings = sum(isinstance(event, events.Ping) for group in told for event in group)
    assert bool(client.take_output()) is bool(pings)


def test_messages_of_a_block_are_frames_that_wsproto_reads() -> None:
    for payload in (1, 124, 125, 126, 32768, 65535, 70000):
        block = bulk.Block(b"\x01", payload, 3)
        pieces = [os.urandom(payload) for _ in range(3)]
        for room, data in zip(block.rooms, pieces, strict=True):
            room[:] = data
        assert oracle(bytes(block.filled(2))) == [b"\x01" + data for data in pieces[:2]]
        assert oracle(bytes(block.filled(3))) == [b"\x01" + data for data in pieces]
        assert bytes(block.filled(0)) == b""
        for room in block.rooms:
            room[:] = bytes(payload)
        assert oracle(bytes(block.filled(1))) == [b"\x01" + bytes(payload)], "it may be filled again"


def test_what_comes_with_the_handshake_counts() -> None:
    server = ws.WebSocket(ws.Side.SERVER)
    server.send(b"one")
    server.send("two")
    raw = server.take_output()
    client = ws.WebSocket(ws.Side.CLIENT, trailing=raw[:7])
    assert client.receive_pending() == [b"one"]
    assert client.receive_pending() == []
    assert client.receive(raw[7:]) == ["two"]


def test_a_message_in_the_middle_of_another_is_an_error() -> None:
    """RFC 6455, 5.4: only control frames may be between the parts of a message."""
    server = connection.Connection(connection.ConnectionType.SERVER)
    begin = server.send(events.BytesMessage(b"begin", message_finished=False))
    client = ws.WebSocket(ws.Side.CLIENT)
    (closed,) = client.receive(begin + bulk.head(5) + b"other")
    assert isinstance(closed, ws.Closed)
    assert closed.code == 1002
    assert client.closed


def test_nothing_is_heard_after_the_close() -> None:
    server = ws.WebSocket(ws.Side.SERVER)
    server.send(b"one")
    server.close(1000)
    client = ws.WebSocket(ws.Side.CLIENT)
    late = bulk.head(4) + b"late"
    assert client.receive(server.take_output() + late) == [b"one", ws.Closed(1000)]
    assert client.receive(late) == []


def test_a_limit_holds_for_messages_of_any_size() -> None:
    client = ws.WebSocket(ws.Side.CLIENT, max_message_bytes=1000)
    assert client.receive(bulk.head(1000) + bytes(1000)) == [bytes(1000)]
    assert client.receive(bulk.head(1001) + bytes(1001)) == [ws.Closed(1009, "message too big")]
