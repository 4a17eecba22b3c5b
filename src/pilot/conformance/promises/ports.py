"""Ports of the machine: which are listened on, and a connection to one."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...wire import operations, schema, websocket
from .. import expect
from ..promise import Promise
from ..subject import Subject

# TCP's discard: no machine listens on it.
_NOBODY = 9


def promises() -> Iterator[Promise]:
    yield Promise("watchPorts", "the list of them comes first", _list)
    yield Promise("proxy", "a port at which nobody listens is an error, and a close", _nobody)
    yield Promise("proxy", "a first message that names no port is an error, and a close", _no_port)


def _list(subject: Subject) -> None:
    with subject.open(operations.WATCH_PORTS) as socket:
        expect.frame(socket.receive(), schema.PortList)


def _nobody(subject: Subject) -> None:
    _refused(subject, msgspec.json.encode(schema.ProxyRequest(port=_NOBODY)).decode())


def _no_port(subject: Subject) -> None:
    _refused(subject, '{"port":"all"}')


def _refused(subject: Subject, first: str) -> None:
    with subject.open(operations.PROXY) as socket:
        socket.send(first)
        answer = expect.frame(socket.receive(), schema.ProxyAnswer)
        expect.that(answer.status == "error" and bool(answer.error), f"an error and why were meant: {answer}")
        last = socket.receive()
        closed = isinstance(last, websocket.Closed) and last.code != websocket.CLOSE_ABNORMAL
        expect.that(closed, f"a close was meant: {last!r}"[:200])
