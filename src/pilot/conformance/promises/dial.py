"""Before HTTP: the first lines of a dialled connection, and how a connection and requests go together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...wire import dial, operations, schema
from .. import expect
from ..promise import Promise
from ..subject import Subject

GROUP = "dial"
# TCP's discard: no machine listens on it.
_NOBODY = 9
_OK = re.compile(rb"OK [0-9]{1,10}\n")


def promises() -> Iterator[Promise]:
    yield Promise(GROUP, "a port that is open is answered OK", _reached)
    yield Promise(GROUP, "10002 is answered OK, and ends", _sign_of_life)
    yield Promise(GROUP, "a port at which nobody listens is refused, by ERR or a close", _nobody)
    yield Promise(GROUP, "a first line that is no CONNECT is refused, by ERR or a close", _no_connect)
    yield Promise(GROUP, "one connection carries many requests", _many)
    yield Promise(GROUP, "what is no HTTP ends its own connection alone", _no_http)
    yield Promise(GROUP, "a path that no operation has is 404", _no_path)


def _reached(subject: Subject) -> None:
    with subject.raw(dial.connect_line(dial.PORT_API)) as stream:
        line = stream.recv(dial.MAX_LINE_BYTES)
    expect.that(_OK.fullmatch(line) is not None, f"OK and a port were meant: {line!r}")


def _sign_of_life(subject: Subject) -> None:
    with subject.raw(dial.connect_line(dial.PORT_HEALTH)) as stream:
        said = subject.read_to_end(stream)
    expect.that(_OK.fullmatch(said) is not None, f"OK, a port and the end were meant: {said!r}")


def _nobody(subject: Subject) -> None:
    with subject.raw(dial.connect_line(_NOBODY)) as stream:
        _turned_away(subject.read_to_end(stream))


def _no_connect(subject: Subject) -> None:
    with subject.raw(b"HELLO machine\n") as stream:
        _turned_away(subject.read_to_end(stream))


def _turned_away(said: bytes) -> None:
    line, _, rest = said.partition(b"\n")
    meant = not said or (line.startswith(b"ERR ") and not rest)
    expect.that(meant, f"ERR and a text, or nothing, and the end were meant: {said!r}")


def _many(subject: Subject) -> None:
    first, second = subject.several(["/v1/version", "/v1/version"])
    for answer in (first, second):
        expect.answered(operations.GET_VERSION, answer, subject.isolation)
    expect.that(first.body == second.body, f"the same answer was meant: {first.body!r}, then {second.body!r}")


def _no_http(subject: Subject) -> None:
    with subject.raw(dial.connect_line(dial.PORT_API)) as stream:
        expect.that(_OK.fullmatch(stream.recv(dial.MAX_LINE_BYTES)) is not None, "OK was meant")
        stream.sendall(b"\x00\xff no request\r\n\r\n")
        said = subject.read_to_end(stream)
    expect.that(not said or said.startswith(b"HTTP/1.1 4"), f"an answer 4xx, or a close, was meant: {said[:80]!r}")
    answer = subject.ask(operations.GET_VERSION)
    version: schema.Version = expect.answered(operations.GET_VERSION, answer, subject.isolation)
    expect.that(bool(version.version), "a version was meant")


def _no_path(subject: Subject) -> None:
    expect.refused(subject.request("GET", "/v1/no-such-call"), 404, "not_found")
