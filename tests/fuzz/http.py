"""What clients send to pilotd and, through it, to a machine; what a machine answers."""

from __future__ import annotations

import h11

from pilot import errors
from pilot.host.relay import heads, reader
from pilot.host.relay.machine_answer import MachineAnswer
from pilot.machine.dial import Stream
from pilot.wire import dial, faults, http
from tests.fuzz.target import Choices, Target, finished

_Read = list[tuple[str, bytes, heads.Headers, bytes]]


def _read(pieces: list[bytes]) -> tuple[_Read, str]:
    """The requests whose bodies are whole, and how it ended."""
    begun: list[reader.Request] = []
    connection = reader.Reader(begun.append, lambda: None)
    how = "goes on"
    try:
        for number, piece in enumerate(pieces):
            if connection.feed(piece) is not None:
                how = "upgrade"
                break
            assert number < len(pieces)
    except errors.PilotError as error:
        how = type(error).__name__
    whole = [request for request in begun if request.body.is_complete]
    return [(r.head.method, r.head.target, r.head.headers, _body(r.body)) for r in whole], how


def _body(body: reader.Body) -> bytes:
    return finished(body.piece()) or b""


def _relay(data: bytes) -> None:
    """In pieces they mean what they mean at once; and to the agent, as pilotd passes them on, they mean the same."""
    choices = Choices(data)
    data = choices.left
    found, how = _read([data])
    in_pieces, how_in_pieces = _read(list(choices.split(data)))
    assert in_pieces == found
    assert how_in_pieces == how
    for method, target, headers, body in found:
        _same_for_the_agent(heads.Head(method, target, headers), body)


def _same_for_the_agent(head: heads.Head, body: bytes) -> None:
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if head.is_chunked and body else body
    framed = framed or (b"0\r\n\r\n" if head.is_chunked else b"")
    agent = h11.Connection(h11.SERVER, max_incomplete_event_size=http.MAX_HEAD_BYTES)
    agent.receive_data(heads.for_machine(head, "/v1/x", "127.0.0.1") + framed)
    event = agent.next_event()
    assert isinstance(event, h11.Request), event
    assert event.method.decode() == head.method
    received = b""
    while isinstance(event := agent.next_event(), h11.Data):
        received += event.data
    assert isinstance(event, h11.EndOfMessage), event
    assert received == body
    assert agent.trailing_data[0] == b""


def _agent(data: bytes) -> None:
    """Requests, one after the other, as `server.connection` reads them."""
    protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=http.MAX_HEAD_BYTES)
    for piece in Choices(data[-16:]).split(data):
        protocol.receive_data(piece)
        while isinstance(event := protocol.next_event(), h11.Request | h11.Data):
            if isinstance(event, h11.Request):
                request = http.parse_request(event)
                http.parse_range(request.headers.get("range", ""), 4096)
                request.flag("a")
                request.number("n", 1, 0, 9)


class _Machine(Stream):
    """One that has said all at once."""

    def __init__(self, data: bytes) -> None:
        self._early = data

    async def receive(self) -> bytes:
        data, self._early = self._early[:64], self._early[64:]
        return data


async def _answer(data: bytes) -> None:
    answer = MachineAnswer(_Machine(data[1:]), "HEAD" if data[:1] == b"h" else "GET")
    await answer.read_head()
    async for _ in answer.pieces():
        pass


def _dial(data: bytes) -> None:
    for parse in (dial.parse_connect, dial.parse_answer, dial.parse_health):
        try:
            parse(data)
        except errors.PeerError:
            continue


_POST = b"POST /v1/sprites/a/exec?cmd=x HTTP/1.1\r\nHost: h\r\n"
_SEEDS = (
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    _POST + b"Content-Length: 3\r\n\r\nabc" + _POST + b"Content-Length: 0\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: t\r\n\r\n",
    b"GET /w HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\nx",
    b"GET http://h:1/p?n=5&a=true HTTP/1.0\r\nRange: bytes=1-2\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n",
    _POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\na",
)
_ANSWERS = (
    b"gHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
    b"gHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: t\r\n\r\n",
    b"hHTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nx",
    b"gHTTP/1.1 304 \r\n\r\n",
)
TARGETS = {
    "http-relay": Target(_relay, (), _SEEDS),
    "http-agent": Target(_agent, (h11.RemoteProtocolError, faults.InvalidRequest, faults.RangeNotSatisfiable), _SEEDS),
    "http-answer": Target(lambda data: finished(_answer(data)), (errors.PeerError,), _ANSWERS),
    "dial": Target(_dial, (), (b"CONNECT 5\n", b"OK 5\n", b"ERROR no such port\n")),
}
