"""Sessions: started by a request or a WebSocket, attached to, listed, killed. They run `sh`, which each world has."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...machine import web_socket
from ...machine.exchange import Answer
from ...wire import exec_frames, operations, schema, websocket
from ...wire.operations import Operation
from .. import expect
from ..promise import Ask, Promise, World
from ..subject import Subject
from . import rows

_OF_NOBODY = {"id": "no-such-session"}
_KILLED = 128 + signal.SIGKILL
_RUNNING = World.RUNNING


def promises() -> Iterator[Promise]:
    yield Promise("listSessions", "the list of sessions", _listed)
    yield Promise("execute", "output by stream, then the exit status", _execute, _RUNNING)
    yield Promise("execute", "the body is its stdin", _execute_with_input, _RUNNING)
    yield rows.refusal(
        operations.EXECUTE, "a program that is not there is told as such", 400, "command_not_found",
        query=[("cmd", "/no/such/program")], world=_RUNNING,
    )  # fmt: skip
    yield rows.refusal(
        operations.EXECUTE, "a flag that is none is refused", 400, "invalid_argument",
        query=[("cmd", "true"), ("stdin", "perhaps")], world=_RUNNING,
    )  # fmt: skip
    yield Promise("openSession", "session_info, output, exit twice, close 1000", _streams, _RUNNING)
    yield Promise("openSession", "a terminal: bytes, exit, close 4000 and the status", _terminal, _RUNNING)
    yield Promise("openSession", "stdin reaches its end", _input, _RUNNING)
    yield Promise("openSession", "a size that is none is refused", _no_size, _RUNNING, statuses=(400,))
    yield Promise("openMachineSession", "output and exit of what runs beside the agent", _beside)
    yield Promise("openMachineSession", "no other call shows it, or attaches to it", _beside_alone, statuses=(404,))
    yield Promise("openMachineSession", "a session of a container is none of these", _not_beside, _RUNNING)
    yield Promise("attachSession", "what is kept of the output, and what comes", _attach, _RUNNING)
    yield Promise("attachSession", "one that there is not is not found", _attach_to_none, statuses=(404,))
    kills: tuple[Operation[Any, schema.KillEvent], ...] = (operations.KILL_SESSION, operations.DELETE_SESSION)
    for operation in kills:
        text = "its end is told line by line; then there is nobody to kill"
        yield Promise(operation.id, text, _kill(operation), _RUNNING, statuses=(404, 410))
        yield rows.refusal(operation, "one that there is not is not found", 404, "not_found", parameters=_OF_NOBODY)
        yield Promise(operation.id, "a signal that is none is refused", _bad_signal(operation), _RUNNING, False, (400,))
    yield Promise("killSession", "a wrong type is refused by its path", _wrong_kill, _RUNNING, statuses=(400,))


def _sh(script: str) -> list[tuple[str, str]]:
    return [("cmd", "sh"), ("cmd", "-c"), ("cmd", script)]


def _listed(subject: Subject) -> None:
    answer = subject.ask(operations.LIST_SESSIONS)
    listed = expect.answered(operations.LIST_SESSIONS, answer, subject.isolation)
    expect.that(listed.count == len(listed.sessions), f"the count of its rows was meant: {listed}")


def _execute(subject: Subject) -> None:
    answer = subject.ask(operations.EXECUTE, query=_sh("printf out; printf err >&2; exit 3"))
    said = expect.answered(operations.EXECUTE, answer, subject.isolation)
    met = b"\x01out" in said and b"\x02err" in said and said.endswith(b"\x03\x03") and len(said) == 10
    expect.that(met, f"01 out, 02 err and at last 03 03 were meant: {said[:80]!r}")


def _execute_with_input(subject: Subject) -> None:
    answer = subject.ask(operations.EXECUTE, query=[*_sh("cat"), ("stdin", "true")], body=b"given")
    said = expect.answered(operations.EXECUTE, answer, subject.isolation)
    expect.that(said == b"\x01given\x03\x00", f"01 given, 03 00 were meant: {said[:80]!r}")


def _streams(subject: Subject) -> None:
    with subject.open(operations.OPEN_SESSION, _sh("printf out; printf err >&2; exit 7")) as socket:
        info = expect.frame(socket.receive(), exec_frames.SessionInfo)
        expect.that(info.is_owner and not info.tty, f"the owner's session without a terminal was meant: {info}")
        told, closed = _to_end(socket)
    expect.that(_output(told, 1) == b"out", f"01 out was meant: {told}")
    expect.that(_output(told, 2) == b"err", f"02 err was meant: {told}")
    last = told[-2:]
    meant = len(last) == 2 and last[1] == b"\x03\x07" and expect.frame(last[0], exec_frames.Exit).exit_code == 7
    expect.that(meant, f"exit 7 as text, then as 03 07, were meant: {last}")
    expect.that(closed == websocket.CLOSE_NORMAL, f"close 1000 was meant, not {closed}")


def _terminal(subject: Subject) -> None:
    query = [*_sh("stty size 2>/dev/null || true; test -t 0 && printf terminal; exit 5"), ("tty", "true")]
    with subject.open(operations.OPEN_SESSION, query) as socket:
        info = expect.frame(socket.receive(), exec_frames.SessionInfo)
        expect.that(info.tty, f"a terminal was meant: {info}")
        told, closed = _to_end(socket)
    said = b"".join(each for each in told if isinstance(each, bytes))
    expect.that(said.endswith(b"terminal"), f"a terminal's bytes were meant: {told}")
    expect.that(closed == 4005, f"close 4005 was meant, not {closed}")


def _input(subject: Subject) -> None:
    with subject.open(operations.OPEN_SESSION, [*_sh("cat"), ("stdin", "true")]) as socket:
        expect.frame(socket.receive(), exec_frames.SessionInfo)
        socket.send(exec_frames.stdin_message(b"typed", tty=False))
        socket.send(exec_frames.STDIN_EOF_MESSAGE)
        told, _ = _to_end(socket)
    expect.that(_output(told, 1) == b"typed" and told[-1] == b"\x03\x00", f"01 typed, 03 00 were meant: {told}")


def _beside(subject: Subject) -> None:
    with subject.open(operations.OPEN_MACHINE_SESSION, [*_sh("cat; id -u; exit 6"), ("stdin", "true")]) as socket:
        expect.frame(socket.receive(), exec_frames.SessionInfo)
        socket.send(exec_frames.stdin_message(b"typed\n", tty=False))
        socket.send(exec_frames.STDIN_EOF_MESSAGE)
        told, closed = _to_end(socket)
    expect.that(_output(told, 1) == b"typed\n0\n", f"what was typed, and root's id, were meant: {told}")
    expect.that(told[-1] == b"\x03\x06" and closed == websocket.CLOSE_NORMAL, f"exit 6 was meant: {told}, {closed}")


def _beside_alone(subject: Subject) -> None:
    query = [*_sh("cat; exit 4"), ("stdin", "true")]
    with subject.open(operations.OPEN_MACHINE_SESSION, query) as socket:
        id = expect.frame(socket.receive(), exec_frames.SessionInfo).session_id
        shown = expect.answered(
            operations.LIST_SESSIONS, subject.ask(operations.LIST_SESSIONS), subject.isolation
        ).sessions
        expect.that(all(row.id != id for row in shown), f"a list without {id} was meant: {shown}")
        _refused(subject, operations.ATTACH_SESSION, parameters={"id": id})
        answer = subject.ask(operations.KILL_SESSION, parameters={"id": id})
        expect.refused(answer, 404, "not_found")
        with subject.open(operations.OPEN_MACHINE_SESSION, [("id", id)]) as again:
            expect.that(not expect.frame(again.receive(), exec_frames.SessionInfo).is_owner, "a guest was meant")
        socket.send(exec_frames.STDIN_EOF_MESSAGE)
        told, _ = _to_end(socket)
    expect.that(told[-1] == b"\x03\x04", f"exit 4 was meant: {told}")


def _not_beside(subject: Subject) -> None:
    with subject.open(operations.OPEN_SESSION, [*_sh("cat"), ("stdin", "true")]) as socket:
        id = expect.frame(socket.receive(), exec_frames.SessionInfo).session_id
        _refused(subject, operations.OPEN_MACHINE_SESSION, [("id", id)])
        socket.send(exec_frames.STDIN_EOF_MESSAGE)
        _to_end(socket)


def _no_size(subject: Subject) -> None:
    query = [("cmd", "true"), ("tty", "true"), ("rows", "0")]
    expect.refused(_refusal_of(subject, query), 400, "invalid_argument")


def _refusal_of(subject: Subject, query: Sequence[tuple[str, str]]) -> Answer:
    try:
        subject.open(operations.OPEN_SESSION, query).close()
    except web_socket.Refused as refused:
        return refused.answer
    raise expect.Unmet("a refusal was meant, and the WebSocket was opened")


def _attach(subject: Subject) -> None:
    with _session(subject) as (id, owner):
        while not isinstance(owner.receive(), bytes):
            pass  # until it has written something
        listed = expect.answered(
            operations.LIST_SESSIONS, subject.ask(operations.LIST_SESSIONS), subject.isolation
        ).sessions
        expect.that(id in {row.id for row in listed}, f"session {id} was meant to be listed: {listed}")
        with subject.open(operations.ATTACH_SESSION, parameters={"id": id}) as other:
            info = expect.frame(other.receive(), exec_frames.SessionInfo)
            expect.that(info.session_id == id and not info.is_owner, f"a guest of {id} was meant: {info}")
            kept = other.receive()
            expect.that(kept == b"\x01kept", f"01 kept was meant: {kept!r}")


def _attach_to_none(subject: Subject) -> None:
    _refused(subject, operations.ATTACH_SESSION, parameters=_OF_NOBODY)


def _refused(
    subject: Subject,
    operation: Operation[Any, Any],
    query: Sequence[tuple[str, str]] = (),
    parameters: Mapping[str, str] = {},
) -> None:
    """As not found."""
    try:
        subject.open(operation, query, parameters).close()
    except web_socket.Refused as refused:
        expect.refused(refused.answer, 404, "not_found")
    else:
        raise expect.Unmet("a refusal was meant, and the WebSocket was opened")


def _kill(operation: Operation[Any, schema.KillEvent]) -> Ask:
    query = [("signal", "KILL"), ("timeout", "5s")]

    def ask(subject: Subject) -> None:
        with _session(subject, end=False) as (id, _):
            told = expect.lines(operation, subject.ask(operation, query=query, parameters={"id": id}))
            meant = bool(told) and (told[-1].type, told[-1].exit_code) == ("complete", _KILLED)
            expect.that(meant, f"complete with {_KILLED} was meant at last: {told}")
            again = subject.ask(operation, query=query, parameters={"id": id})
            expect.refused(again, 404 if again.status == 404 else 410, "not_found")

    return ask


def _bad_signal(operation: Operation[Any, schema.KillEvent]) -> Ask:
    def ask(subject: Subject) -> None:
        with _session(subject) as (id, _):
            answer = subject.ask(operation, query=[("signal", "NONESUCH")], parameters={"id": id})
            expect.refused(answer, 400, "invalid_argument")

    return ask


def _wrong_kill(subject: Subject) -> None:
    with _session(subject) as (id, _):
        answer = subject.ask(operations.KILL_SESSION, json={"signal": 5}, parameters={"id": id})
        told = expect.refused(answer, 400, "invalid_argument").error
        expect.that("$.signal" in told, f"the path $.signal was meant to be in the error: {told!r}")


@contextlib.contextmanager
def _session(subject: Subject, *, end: bool = True) -> Iterator[tuple[str, web_socket.Socket]]:
    """One that has written `kept`, and waits; it is ended afterwards."""
    with subject.open(operations.OPEN_SESSION, _sh("printf kept; exec sleep 600")) as socket:
        id = expect.frame(socket.receive(), exec_frames.SessionInfo).session_id
        try:
            yield id, socket
        finally:
            if end:
                subject.ask(
                    operations.KILL_SESSION, query=[("signal", "KILL"), ("timeout", "0s")], parameters={"id": id}
                )


def _to_end(socket: web_socket.Socket) -> tuple[list[str | bytes], int]:
    """Messages without keepalives, and the code of the close."""
    told: list[str | bytes] = []
    while not isinstance(event := socket.receive(), websocket.Closed):
        if event != exec_frames.KEEPALIVE:
            told.append(event)
    return told, event.code


def _output(told: Sequence[str | bytes], stream: int) -> bytes:
    return b"".join(each[1:] for each in told if isinstance(each, bytes) and each[:1] == bytes([stream]))
