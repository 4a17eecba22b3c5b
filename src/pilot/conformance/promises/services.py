"""Services: what a sprite's user wants to run by itself. They run `sh` in the world, which each world has."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...wire import operations
from ...wire.services import Service, ServiceEvent, ServiceStatus
from .. import expect
from ..promise import Promise, World
from ..subject import Subject
from . import rows

_RUNNING = World.RUNNING
_NOBODY = {"service": "kit-nobody"}
_PAUSE_S = 0.05
# How long a start is told of: longer where a machine is slower, and no longer than half of what each wait may be.
_DURATIONS_S = (0.5, 2.0, 8.0, 30.0)


def promises() -> Iterator[Promise]:
    yield Promise("listServices", "an array, in which what was made is found", _listed, _RUNNING)
    yield Promise("getService", "what was asked for, and its state", _got, _RUNNING)
    yield Promise("putService", "it is started, and what it says is told; then `complete`", _told, _RUNNING)
    yield Promise("putService", "one that ends by itself is started again, after a while", _backs_off, _RUNNING)
    yield Promise("stopService", "it stays stopped until it is asked to start", _sticky, _RUNNING)
    yield Promise("stopService", "one that does not run is refused", _stopped_twice, _RUNNING, statuses=(409,))
    yield Promise("startService", "it runs again", _sticky, _RUNNING)
    yield Promise("restartService", "another process runs afterwards", _restart, _RUNNING)
    yield Promise("serviceLogs", "what it wrote, and the last lines of it", _logs, _RUNNING)
    yield Promise("signalService", "it gets the signal", _signal, _RUNNING)
    yield Promise("deleteService", "it ends, and is not known any more", _delete, _RUNNING)
    yield Promise("deleteService", "one that another needs is refused", _needed, _RUNNING, statuses=(409,))
    yield Promise("putService", "a second HTTP port is refused", _two_ports, _RUNNING, statuses=(409,))
    yield rows.refusal(
        operations.PUT_SERVICE, "one that needs an unknown one is refused", 400, "invalid_argument",
        json={"cmd": "sh", "needs": ["kit-nobody"]}, parameters={"service": "kit-web"}, world=_RUNNING,
    )  # fmt: skip
    for operation in (
        operations.GET_SERVICE, operations.DELETE_SERVICE, operations.START_SERVICE, operations.STOP_SERVICE,
        operations.RESTART_SERVICE, operations.SERVICE_LOGS,
    ):  # fmt: skip
        yield rows.refusal(
            operation, "one that there is not is not found", 404, "not_found", parameters=_NOBODY, world=_RUNNING
        )
    yield rows.refusal(
        operations.SIGNAL_SERVICE, "one that there is not is not found", 404, "not_found",
        json={"name": "kit-nobody", "signal": "TERM"}, world=_RUNNING,
    )  # fmt: skip


@contextlib.contextmanager
def _made(
    subject: Subject, script: str, name: str = "kit-web", duration_s: float = _DURATIONS_S[0], **rest: Any
) -> Iterator[list[ServiceEvent]]:
    """What was told of its start."""
    body = {"cmd": "sh", "args": ["-c", script], "dir": "/"} | rest
    parameters = {"service": name}
    answer = subject.ask(
        operations.PUT_SERVICE, json=body, query=[("duration", f"{duration_s}s")], parameters=parameters
    )
    try:
        yield expect.lines(operations.PUT_SERVICE, answer)
    finally:
        subject.ask(operations.DELETE_SERVICE, parameters=parameters)


@contextlib.contextmanager
def _made_until(
    subject: Subject, script: str, is_enough: Callable[[list[ServiceEvent]], bool]
) -> Iterator[list[ServiceEvent]]:
    """It is made again, and told of for longer, until enough was told; what was told the last time."""
    durations_s = [each for each in _DURATIONS_S if each <= subject.timeout_s / 2] or [subject.timeout_s / 2]
    for duration_s in durations_s:
        with _made(subject, script, duration_s=duration_s) as events:
            if is_enough(events) or duration_s == durations_s[-1]:
                yield events
                return


def _service(subject: Subject, name: str = "kit-web") -> Service:
    answer = subject.ask(operations.GET_SERVICE, parameters={"service": name})
    return expect.answered(operations.GET_SERVICE, answer, subject.isolation)


def _until(subject: Subject, status: ServiceStatus, holds: Callable[[Service], bool] = lambda _: True) -> Service:
    end_s = time.monotonic() + subject.timeout_s
    while (found := _service(subject)).state.status != status or not holds(found):
        expect.that(time.monotonic() < end_s, f"status {status} was meant: {found}")
        time.sleep(_PAUSE_S)
    return found


def _listed(subject: Subject) -> None:
    with _made(subject, "sleep 100"):
        names = [row.name for row in expect.many(operations.LIST_SERVICES, subject.ask(operations.LIST_SERVICES))]
        expect.that("kit-web" in names, f"kit-web was meant: {names}")


def _got(subject: Subject) -> None:
    with _made(subject, "sleep 100", env={"A": "1"}, http_port=8099):
        found = _until(subject, "running")
        expect.that((found.env, found.http_port, found.dir) == ({"A": "1"}, 8099, "/"), f"as asked for: {found}")
        expect.that(found.state.pid is not None, f"a pid was meant: {found}")


def _told(subject: Subject) -> None:
    both = {"stdout", "stderr", "complete"}
    script = "echo out; echo err >&2; sleep 100"
    with _made_until(subject, script, lambda told: both <= {event.type for event in told}) as events:
        kinds = [event.type for event in events]
        expect.that(kinds[0] == "started" and kinds[-1] == "complete", f"started, …, complete: {kinds}")
        said = {event.type: event.data for event in events if event.data}
        expect.that(said == {"stdout": "out\n", "stderr": "err\n"}, f"its output was meant: {said}")


def _backs_off(subject: Subject) -> None:
    with _made_until(subject, "exit 3", lambda told: any(event.type == "exit" for event in told)) as events:
        ends = [event.exit_code for event in events if event.type == "exit"]
        expect.that(ends[:1] == [3], f"exit 3 was meant: {events}")
        found = _until(subject, "failed", lambda service: service.state.next_restart_at is not None)
        expect.that("code 3" in (found.state.error or ""), f"why was meant: {found}")
        _until(subject, "failed", lambda service: service.state.restart_count > 0)


def _patience(subject: Subject) -> str:
    """Of the machine with what ends at once."""
    return f"{subject.timeout_s / 2}s"


def _stop(subject: Subject) -> list[ServiceEvent]:
    answer = subject.ask(
        operations.STOP_SERVICE, query=[("timeout", _patience(subject))], parameters={"service": "kit-web"}
    )
    return expect.lines(operations.STOP_SERVICE, answer)


def _start(subject: Subject) -> list[ServiceEvent]:
    answer = subject.ask(operations.START_SERVICE, query=[("duration", "0.2s")], parameters={"service": "kit-web"})
    return expect.lines(operations.START_SERVICE, answer)


def _sticky(subject: Subject) -> None:
    with _made(subject, "sleep 100"):
        kinds = [event.type for event in _stop(subject)]
        expect.that(kinds == ["stopping", "stopped", "complete"], f"stopping, stopped, complete: {kinds}")
        _until(subject, "stopped")
        expect.that(_start(subject)[-1].type == "complete", "complete was meant")
        _until(subject, "running")


def _stopped_twice(subject: Subject) -> None:
    with _made(subject, "sleep 100"):
        _stop(subject)
        answer = subject.ask(operations.STOP_SERVICE, parameters={"service": "kit-web"})
        expect.refused(answer, 409, "already_exists")


def _restart(subject: Subject) -> None:
    with _made(subject, "sleep 100"):
        before = _until(subject, "running").state.pid
        answer = subject.ask(
            operations.RESTART_SERVICE, query=[("duration", "0.2s")], parameters={"service": "kit-web"}
        )
        expect.lines(operations.RESTART_SERVICE, answer)
        _until(subject, "running", lambda service: service.state.pid != before)


def _logs(subject: Subject) -> None:
    with _made(subject, "echo one; echo two; echo three; sleep 100"):
        _until_said(subject, "one\ntwo\nthree\n")
        told = _said(subject, [("lines", "2")])
        expect.that(told == "two\nthree\n", f"the last two lines were meant, not {told!r}")


def _said(subject: Subject, query: list[tuple[str, str]]) -> str:
    answer = subject.ask(operations.SERVICE_LOGS, query=query, parameters={"service": "kit-web"})
    return "".join(event.data or "" for event in expect.lines(operations.SERVICE_LOGS, answer))


def _signal(subject: Subject) -> None:
    with _made(subject, "trap 'echo heard' USR1; echo ready; while :; do sleep 0.1; done"):
        _until_said(subject, "ready\n")  # before that it would end by it
        answer = subject.ask(operations.SIGNAL_SERVICE, json={"name": "kit-web", "signal": "SIGUSR1"})
        expect.answered(operations.SIGNAL_SERVICE, answer, subject.isolation)
        _until_said(subject, "ready\nheard\n")


def _until_said(subject: Subject, said: str) -> None:
    end_s = time.monotonic() + subject.timeout_s
    while (told := _said(subject, [])) != said:
        expect.that(time.monotonic() < end_s, f"{said!r} was meant, not {told!r}")
        time.sleep(_PAUSE_S)


def _delete(subject: Subject) -> None:
    with _made(subject, "sleep 100"):
        answer = subject.ask(operations.DELETE_SERVICE, parameters={"service": "kit-web"})
        expect.answered(operations.DELETE_SERVICE, answer, subject.isolation)
        expect.refused(subject.ask(operations.GET_SERVICE, parameters={"service": "kit-web"}), 404, "not_found")


def _needed(subject: Subject) -> None:
    with _made(subject, "sleep 100"), _made(subject, "sleep 100", "kit-next", needs=["kit-web"]):
        answer = subject.ask(operations.DELETE_SERVICE, parameters={"service": "kit-web"})
        expect.refused(answer, 409, "already_exists")


def _two_ports(subject: Subject) -> None:
    with _made(subject, "sleep 100", http_port=8099):
        answer = subject.ask(
            operations.PUT_SERVICE, json={"cmd": "sh", "http_port": 8098}, parameters={"service": "kit-next"}
        )
        expect.refused(answer, 409, "already_exists")
