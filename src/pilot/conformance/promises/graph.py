"""Containers as a graph: what is wanted, what is so and why. They run `sh` in the world, which each world has."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...wire import events, graph, operations, schema
from ...wire.operations import Operation
from .. import expect
from ..promise import Promise, World
from ..subject import Subject
from . import rows

_NOBODY = {"name": "kit-nobody"}
_RUNNING = World.RUNNING
_PAUSE_S = 0.05


def promises() -> Iterator[Promise]:
    yield Promise("getGraph", "a generation, and a row for each container", _listed)
    yield from _refusals()
    yield from _disk_promises()
    yield Promise("applyGraph", "what is wanted twice is one generation; an older one is refused", _apply, uses_up=True)
    yield Promise("putContainer", "it runs once, and its exit code is told", _once, _RUNNING)
    yield Promise("putContainer", "what it needs is not there: it waits, and says for what", _waits, World.ABSENT)
    yield Promise(
        "putContainer", "wanted as it is, it is let alone; wanted otherwise, it is started anew", _same, _RUNNING
    )
    yield Promise("getContainer", "one that fails is started again, so often and no more", _retries, _RUNNING)
    yield Promise(
        "getContainer", "a check that passes makes it healthy, and others are started then", _healthy, _RUNNING
    )
    yield Promise("getContainer", "a check whose program is not there says so", _no_program, _RUNNING)
    yield Promise("stopContainer", "it stays stopped until it is asked to start", _sticky, _RUNNING)
    yield Promise("startContainer", "one that has ended is run again", _start, _RUNNING)
    yield Promise("restartContainer", "another process runs afterwards", _restart, _RUNNING)
    yield Promise("restartContainer", "with one request id it is done once, and refused for another", _repeat, _RUNNING)
    yield Promise("containerLogs", "both streams, in order, with their offsets; from an offset on", _logs, _RUNNING)
    yield Promise("deleteContainer", "it ends, and is not known any more; again is as good as once", _delete, _RUNNING)
    yield Promise("killContainer", "it has ended by itself, and its restart policy decides", _kill, _RUNNING)
    yield Promise("pauseContainer", "it is listed as paused; again is as good as once", _pause, _RUNNING)
    yield Promise("resumeContainer", "it goes on", _resume, _RUNNING)
    yield Promise("pauseContainer", "a process in another container is not paused", _no_pause, _RUNNING, False, (409,))
    yield Promise("getStats", "what the world has used", _stats, _RUNNING)
    yield Promise("listProcesses", "the world's first process is one of them", _processes, _RUNNING)
    yield Promise("waitContainer", "an end that was and one that comes; then the one after that", _wait, _RUNNING)
    yield Promise("watchEvents", "numbered without holes, from any number on", _events)
    yield Promise("watchEvents", "a container's start and end are told, once", _told, _RUNNING)
    yield rows.refusal(
        operations.EXECUTE, "a container that there is not is not found", 404, "not_found",
        query=[("cmd", "true"), ("container", _NOBODY["name"])],
    )  # fmt: skip
    for operation in (
        operations.GET_CONTAINER, operations.START_CONTAINER, operations.STOP_CONTAINER, operations.RESTART_CONTAINER,
        operations.KILL_CONTAINER, operations.PAUSE_CONTAINER, operations.RESUME_CONTAINER, operations.GET_STATS,
        operations.LIST_PROCESSES, operations.WAIT_CONTAINER, operations.CONTAINER_LOGS,
    ):  # fmt: skip
        yield rows.refusal(operation, "one that there is not is not found", 404, "not_found", parameters=_NOBODY)
    yield Promise("putContainerFiles", "of no file: it runs on", _files, _RUNNING)
    yield Promise("putContainerFiles", "a file that it has not is refused", _no_files, _RUNNING, False, (409,))
    yield rows.refusal(
        operations.PUT_CONTAINER_FILES, "one that there is not is not found", 404, "not_found",
        parameters=_NOBODY, json={"files": []},
    )  # fmt: skip


def _disk_promises() -> Iterator[Promise]:
    """Whether one can be mounted is up to who has one."""
    nowhere = {"name": "kit-disk"}
    yield Promise("listDisks", "a row for each, with its room", _disks)
    yield rows.refusal(
        operations.MOUNT_DISK, "a descriptor that was not sent is not found", 404, "not_found",
        parameters=nowhere, json={"descriptor": "kit-none"},
    )  # fmt: skip
    yield rows.refusal(
        operations.MOUNT_DISK, "a disk is named in exactly one way", 400, "invalid_argument",
        parameters=nowhere, json={"descriptor": "x", "serial": "y"},
    )  # fmt: skip
    yield rows.repeated(operations.UNMOUNT_DISK, "one that is not there: again is as good as once", parameters=nowhere)


def _disks(subject: Subject) -> None:
    for disk in _asked(subject, operations.LIST_DISKS).disks:
        expect.that(disk.path.startswith("/") and 0 <= disk.free_bytes <= disk.size_bytes, f"{disk}")


def _refusals() -> Iterator[Promise]:
    for text, container in (
        ("a container that needs an unknown one", {"depends_on": [{"name": "nobody"}]}),
        ("a root and a container to be within", {"root": {"path": "/srv"}}),
        (
            "a mount with an unknown field",
            {"within": None, "root": {"path": "/srv"}, "mounts": [{"path": "/x", "open": 1}]},
        ),
        ("a root that has the agent's own things", {"within": None, "root": {"path": "/"}}),
        ("a check that is of two kinds", {"checks": [{"name": "x", "tcp": {"port": 1}, "http": {"port": 1}}]}),
        ("a signal that is none", {"stop": {"signal": "KILLER"}}),
    ):
        yield rows.refusal(
            operations.PUT_CONTAINER, f"{text} is refused", 400, "invalid_argument",
            parameters=_NOBODY, json=_sh("true") | container,
        )  # fmt: skip
    yield Promise("applyGraph", "a cycle is refused with the way round", _cycle, statuses=(400,))


# ---- what is asked --------------------------------------------------------------------------------------------------


def _listed(subject: Subject) -> None:
    found = _asked(subject, operations.GET_GRAPH)
    names = [row.name for row in found.containers]
    expect.that(len(names) == len(set(names)), f"a row for each was meant: {names}")


def _cycle(subject: Subject) -> None:
    first = _sh("true") | {"name": "kit-a", "depends_on": [{"name": "kit-b"}]}
    second = _sh("true") | {"name": "kit-b", "depends_on": [{"name": "kit-a"}]}
    answer = subject.ask(operations.APPLY_GRAPH, json={"containers": [first, second]})
    told = expect.refused(answer, 400, "invalid_argument").error
    expect.that("kit-a → kit-b → kit-a" in told or "kit-b → kit-a → kit-b" in told, f"the way round was meant: {told}")


def _apply(subject: Subject) -> None:
    one = {"containers": [_sh("true") | {"name": "kit-graph", "restart": {"policy": "no"}}]}
    first, second = (_asked(subject, operations.APPLY_GRAPH, json=one) for _ in range(2))
    expect.that(first.generation == second.generation, f"one generation was meant: {first}, {second}")
    expect.that([row.name for row in second.containers if row.status != "removing"] == ["kit-graph"], f"{second}")
    answer = subject.ask(operations.APPLY_GRAPH, json={"containers": [], "if_generation": first.generation - 1})
    expect.refused(answer, 409, "failed_precondition")
    none = _asked(subject, operations.APPLY_GRAPH, json={"containers": [], "if_generation": first.generation})
    expect.that(none.generation > first.generation, f"another generation was meant: {none}")


def _once(subject: Subject) -> None:
    with _container(subject, "kit-once", "exit 3", restart={"policy": "no"}) as name:
        row = _until(subject, name, "exited")
        expect.that(row.exit_code == 3 and row.restarts == 0, f"one end with code 3 was meant: {row}")
        expect.that(bool(row.started) and bool(row.ended) and "3" in row.why, f"when and why were meant: {row}")


def _waits(subject: Subject) -> None:
    with _container(subject, "kit-waits", "true") as name:
        row = _until(subject, name, "waiting")
        expect.that(row.waits_for == ["world"] and "world" in row.why, f"the world was meant: {row}")


def _same(subject: Subject) -> None:
    with _container(subject, "kit-same", _FOREVER, stop={"signal": "KILL"}) as name:
        first = _until(subject, name, "running")
        _put(subject, name, _FOREVER, stop={"signal": "KILL"}, restart={"policy": "always"})
        second = _until(subject, name, "running")
        expect.that(first.pid == second.pid, f"the same process was meant: {first}, {second}")
        _put(subject, name, _FOREVER, stop={"signal": "KILL"}, environment={"X": "1"})
        third = _until(subject, name, "running", other_than=first.pid)
        expect.that(third.pid != first.pid, f"another process was meant: {third}")


def _retries(subject: Subject) -> None:
    restart = {"policy": "on-failure", "max_retries": 2, "first_delay_s": 0.01, "most_delay_s": 0.02, "stable_s": 60}
    with _container(subject, "kit-retries", "exit 1", restart=restart) as name:
        row = _until(subject, name, "exited")
        expect.that(row.restarts == 2 and row.exit_code == 1, f"two more starts were meant: {row}")


def _healthy(subject: Subject) -> None:
    check = {"name": "flag", "exec": {"command": ["sh", "-c", "true"]}, "interval_s": 0.1}
    with (
        _container(subject, "kit-server", _FOREVER, checks=[check], stop={"signal": "KILL"}) as server,
        _container(
            subject, "kit-client", "true", restart={"policy": "no"},
            depends_on=[{"name": server, "condition": "healthy"}],
        ) as client,
    ):  # fmt: skip
        row = _until(subject, client, "exited")
        expect.that(row.exit_code == 0, f"a good end was meant: {row}")
        told = _asked(subject, operations.GET_CONTAINER, server)
        expect.that(told.health == "healthy" and told.checks[0].status == "passing", f"healthy was meant: {told}")


def _no_program(subject: Subject) -> None:
    check = {"name": "curl", "exec": {"command": ["no-such-program -f"]}, "interval_s": 0.1}
    with _container(subject, "kit-check", _FOREVER, checks=[check], stop={"signal": "KILL"}) as name:
        row = _until_so(subject, name, lambda row: bool(row.checks and row.checks[0].message))
        message = row.checks[0].message
        expect.that("no-such-program" in message and '"sh"' in message, f"what was meant was meant: {message}")


def _sticky(subject: Subject) -> None:
    with _container(subject, "kit-sticky", _FOREVER, restart={"policy": "always"}) as name:
        _until(subject, name, "running")
        for _ in range(2):
            _asked(subject, operations.STOP_CONTAINER, name, json={"signal": "KILL", "timeout_s": 1})
        _until(subject, name, "stopped")
        _put(subject, name, _FOREVER, restart={"policy": "always", "first_delay_s": 0.2})
        row = _until(subject, name, "stopped")
        expect.that(row.pid is None, f"no process was meant: {row}")
        _asked(subject, operations.START_CONTAINER, name)
        _until(subject, name, "running")
        _asked(subject, operations.STOP_CONTAINER, name, json={"signal": "KILL"})


def _start(subject: Subject) -> None:
    with _container(subject, "kit-again", "true", restart={"policy": "no"}) as name:
        _until(subject, name, "exited")
        _asked(subject, operations.START_CONTAINER, name)
        row = _until_so(subject, name, lambda row: row.status == "exited" and row.restarts == 1)
        expect.that(row.exit_code == 0, f"a good end was meant: {row}")


def _restart(subject: Subject) -> None:
    with _container(subject, "kit-restart", _FOREVER, stop={"signal": "KILL"}) as name:
        first = _until(subject, name, "running")
        _asked(subject, operations.RESTART_CONTAINER, name)
        second = _until(subject, name, "running", other_than=first.pid)
        expect.that(second.restarts == 1, f"one more start was meant: {second}")


def _repeat(subject: Subject) -> None:
    restart = operations.RESTART_CONTAINER
    with _container(subject, "kit-repeat", _FOREVER, stop={"signal": "KILL"}) as name:
        first = _until(subject, name, "running")
        headers = [(operations.REQUEST_ID, f"{subject.scratch}-repeat-{first.pid}")]
        answers = [subject.ask(restart, parameters={"name": name}, headers=headers)]
        _until(subject, name, "running", other_than=first.pid)
        answers.append(subject.ask(restart, parameters={"name": name}, headers=headers))
        expect.that(answers[0].body == answers[1].body, f"the first answer was meant: {answers}")
        expect.that(answers[1].headers.get(operations.REPEATED.lower()) == "true", f"repeated was meant: {answers[1]}")
        row = _until(subject, name, "running")
        expect.that(row.restarts == 1, f"one restart was meant: {row}")
        other = subject.ask(operations.START_CONTAINER, parameters={"name": name}, headers=headers)
        expect.refused(other, 409, "already_exists")


def _logs(subject: Subject) -> None:
    script = "echo first; sleep 0.1; echo second >&2; sleep 0.1; echo third"
    with _container(subject, "kit-logs", script, restart={"policy": "no"}) as name:
        _until(subject, name, "exited")
        told = _lines(subject, name, ())
        wanted = [("stdout", 0, "first\n"), ("stderr", 0, "second\n"), ("stdout", 6, "third\n")]
        found = [(piece.stream, piece.offset, piece.text) for piece in told]
        expect.that(found == wanted, f"{wanted} was meant: {found}")
        rest = [piece.text for piece in _lines(subject, name, [("stdout", "6"), ("stderr", "7")])]
        expect.that(rest == ["third\n"], f"only the third was meant: {rest}")


def _kill(subject: Subject) -> None:
    restart = {"policy": "always", "first_delay_s": 0.01}
    with _container(subject, "kit-kill", _FOREVER, restart=restart, stop={"signal": "KILL"}) as name:
        first = _until(subject, name, "running")
        _asked(subject, operations.KILL_CONTAINER, name, json={"signal": "KILL"})
        second = _until(subject, name, "running", other_than=first.pid)
        expect.that(second.restarts == 1, f"one more start was meant: {second}")


def _pause(subject: Subject) -> None:
    try:
        for _ in range(2):
            _asked(subject, operations.PAUSE_CONTAINER, "world")
            expect.that(_world(subject).status == "paused", "a paused world was meant")
    finally:
        subject.ask(operations.RESUME_CONTAINER, parameters={"name": "world"})


def _resume(subject: Subject) -> None:
    for _ in range(2):
        _asked(subject, operations.RESUME_CONTAINER, "world")
        expect.that(_world(subject).status == "running", "a running world was meant")


def _world(subject: Subject) -> schema.ContainerRow:
    answer = subject.ask(operations.LIST_CONTAINERS)
    listed = expect.answered(operations.LIST_CONTAINERS, answer, subject.isolation).containers
    return next(row for row in listed if row.name == "world")


def _files(subject: Subject) -> None:
    with _container(subject, "kit-files", _FOREVER, stop={"signal": "KILL"}) as name:
        pid = _until(subject, name, "running").pid
        row = _asked(subject, operations.PUT_CONTAINER_FILES, name, json={"files": []})
        expect.that(row.pid == pid, f"the same process was meant: {row}")


def _no_files(subject: Subject) -> None:
    with _container(subject, "kit-files", _FOREVER, stop={"signal": "KILL"}) as name:
        asked = {"files": [{"path": "/etc/kit", "content": "", "version": 1}]}
        answer = subject.ask(operations.PUT_CONTAINER_FILES, parameters={"name": name}, json=asked)
        expect.refused(answer, 409, "failed_precondition")


def _no_pause(subject: Subject) -> None:
    with _container(subject, "kit-pause", _FOREVER, stop={"signal": "KILL"}) as name:
        _until(subject, name, "running")
        answer = subject.ask(operations.PAUSE_CONTAINER, parameters={"name": name})
        expect.refused(answer, 409, "failed_precondition")


def _stats(subject: Subject) -> None:
    stats = _asked(subject, operations.GET_STATS, "world")
    expect.that(stats.cpu_ns >= 0 and stats.memory_bytes >= 0, f"numbers were meant: {stats}")


def _processes(subject: Subject) -> None:
    pids = [row.pid for row in _asked(subject, operations.LIST_PROCESSES, "world").processes]
    expect.that(_world(subject).pid in pids, f"{_world(subject)} was meant to be in {pids}")


def _wait(subject: Subject) -> None:
    with _container(subject, "kit-wait", "exit 7", restart={"policy": "no"}) as name:
        _until(subject, name, "exited")
        first = _asked(subject, operations.WAIT_CONTAINER, name)
        expect.that(first.exit_code == 7, f"code 7 was meant: {first}")
        query = [("after", str(first.seq)), ("timeout", "0")]
        answer = subject.ask(operations.WAIT_CONTAINER, parameters={"name": name}, query=query)
        expect.refused(answer, 504, "deadline_exceeded")
        _asked(subject, operations.START_CONTAINER, name)
        answer = subject.ask(operations.WAIT_CONTAINER, parameters={"name": name}, query=query[:1])
        second = expect.answered(operations.WAIT_CONTAINER, answer, subject.isolation)
        expect.that(second.seq == first.seq + 1, f"the next one was meant: {second}")
        for each in (first, second):
            parameters = {"name": name, "seq": str(each.seq)}
            answer = subject.ask(operations.ACKNOWLEDGE_EXIT, parameters=parameters)
            expect.answered(operations.ACKNOWLEDGE_EXIT, answer, subject.isolation)


def _events(subject: Subject) -> None:
    told = _since(subject, 0)
    numbers = [event.seq for event in told]
    expect.that(bool(told) and numbers == list(range(numbers[0], numbers[0] + len(told))), f"no hole: {numbers}")
    middle = numbers[len(numbers) // 2]
    rest = [event.seq for event in _since(subject, middle) if event.seq <= numbers[-1]]
    expect.that(rest == [number for number in numbers if number > middle], f"those after {middle}: {rest}")


def _told(subject: Subject) -> None:
    last = _since(subject, 0)[-1].seq
    with _container(subject, "kit-events", "exit 5", restart={"policy": "no"}) as name:
        _until(subject, name, "exited")
        found = [(event.type, event.exit_code) for event in _since(subject, last) if event.container == name]
        expect.that(found == [("container.started", None), ("container.ended", 5)], f"start and end: {found}")


def _since(subject: Subject, seq: int) -> list[events.Event]:
    answer = subject.ask(operations.WATCH_EVENTS, query=[("since", str(seq))])
    return expect.lines(operations.WATCH_EVENTS, answer)


def _delete(subject: Subject) -> None:
    with _container(subject, "kit-delete", _FOREVER, stop={"signal": "KILL"}) as name:
        _until(subject, name, "running")
        for _ in range(2):
            _asked(subject, operations.DELETE_CONTAINER, name)
        _until_gone(subject, name)


# ---- how ------------------------------------------------------------------------------------------------------------

_FOREVER = "exec sleep 1000"


def _sh(script: str) -> dict[str, object]:
    return {"command": ["sh", "-c", script], "within": "world"}


def _asked(subject: Subject, operation: Operation[Any, Any], name: str = "", json: object = None) -> Any:
    answer = subject.ask(operation, parameters={"name": name}, json=json)
    return expect.answered(operation, answer, subject.isolation)


def _put(subject: Subject, name: str, script: str, **more: object) -> None:
    _asked(subject, operations.PUT_CONTAINER, name, json=_sh(script) | more)


@contextlib.contextmanager
def _container(subject: Subject, name: str, script: str, **more: object) -> Iterator[str]:
    """A container for as long as it is asked about; afterwards it is gone."""
    _put(subject, name, script, **more)
    try:
        yield name
    except BaseException:
        subject.ask(operations.DELETE_CONTAINER, parameters={"name": name})
        raise
    _asked(subject, operations.DELETE_CONTAINER, name)
    _until_gone(subject, name)


def _until(
    subject: Subject, name: str, status: graph.ContainerState, other_than: int | None = None
) -> graph.ContainerStatus:
    def holds(row: graph.ContainerStatus) -> bool:
        return row.status == status and (other_than is None or row.pid != other_than)

    return _until_so(subject, name, holds)


def _until_so(subject: Subject, name: str, holds: Callable[[graph.ContainerStatus], bool]) -> graph.ContainerStatus:
    end_s = time.monotonic() + subject.timeout_s
    while not holds(row := _asked(subject, operations.GET_CONTAINER, name)):
        expect.that(time.monotonic() < end_s, f"it did not come about within {subject.timeout_s:g} s: {row}")
        time.sleep(_PAUSE_S)
    assert isinstance(row, graph.ContainerStatus)
    return row


def _until_gone(subject: Subject, name: str) -> None:
    end_s = time.monotonic() + subject.timeout_s
    while subject.ask(operations.GET_CONTAINER, parameters={"name": name}).status != 404:
        expect.that(time.monotonic() < end_s, f"{name} did not go within {subject.timeout_s:g} s")
        time.sleep(_PAUSE_S)


def _lines(subject: Subject, name: str, query: rows.Query) -> list[graph.LogPiece]:
    answer = subject.ask(operations.CONTAINER_LOGS, parameters={"name": name}, query=query)
    return expect.lines(operations.CONTAINER_LOGS, answer)
