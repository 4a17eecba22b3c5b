"""`pilot machine --dial PATH VERB`: for people in the orchestrator's place. Through the contract alone.

status                 what the machine says of itself
run GRAPH              want the containers of this file (and no others), and wait until nothing is under way
ps                     its containers, why they are as they are, and its sessions
logs NAME              what a container has written
events                 what has happened
exec -- COMMAND …      run a command in the user's world, or in a container; its output, and its exit status as ours
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable

import h11
import msgspec

from .. import errors
from ..wire import exec_frames, faults, graph, operations, websocket
from . import amounts, graph_file, lines, web_socket
from .pilot_api import PilotApi

# Nothing is said for so long by a session that lives: it says that it does every ten seconds.
SILENCE_S = 60.0
_PAUSE_S = 0.1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="pilot machine",
        description="drive a machine through the pilot API",
        epilog="`pilot machine start DIRECTORY` makes a bare machine, `pilot machine stop DIRECTORY` ends it.",
    )
    made.add_argument("--dial", required=True, metavar="PATH", help="the machine's dial socket")
    verbs = made.add_subparsers(dest="verb", required=True)
    verbs.add_parser("status", help="what the machine says of itself, as JSON")
    run = verbs.add_parser("run", help="want the containers of a file, and no others; wait until nothing is under way")
    run.add_argument("graph", metavar="GRAPH", help="YAML or JSON (docs/reference/graph.md)")
    run.add_argument("--timeout", type=amounts.seconds, default=60.0, metavar="SECONDS", help="to wait (%(default)s)")
    verbs.add_parser("ps", help="its containers and sessions")
    logs = verbs.add_parser("logs", help="what a container has written")
    logs.add_argument("name", metavar="NAME")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    events = verbs.add_parser("events", help="what has happened, a line of JSON each")
    events.add_argument("-f", "--follow", action="store_true", help="go on with what happens")
    events.add_argument("--since", type=amounts.count(0, 1 << 62), default=0, metavar="SEQ", help="after this event")
    execute = verbs.add_parser("exec", help="run a command in the user's world, or in a container")
    execute.add_argument("--container", metavar="NAME", help="in this one")
    execute.add_argument("command", nargs="+", metavar="COMMAND")
    return made


def main(arguments: list[str]) -> int:
    """The exit status: of `exec` the command's own, of `run` 1 when a container is not as it is wanted."""
    asked = parser().parse_args(arguments)
    return _VERBS[asked.verb](asked)


def _status(asked: argparse.Namespace) -> int:
    status = PilotApi(asked.dial).status()
    print(msgspec.json.format(msgspec.json.encode(status)).decode())
    return 0


def _run(asked: argparse.Namespace) -> int:
    api = PilotApi(asked.dial)
    wanted = graph_file.read(asked.graph)
    told = api.call(operations.APPLY_GRAPH, wanted)
    end_s = time.monotonic() + asked.timeout
    while not told.settled and time.monotonic() < end_s:
        time.sleep(_PAUSE_S)
        told = api.call(operations.GET_GRAPH, None)
    _table([("NAME", "STATUS", "WHY"), *((row.name, _state(row), row.why) for row in told.containers)])
    if not told.settled:
        print(f"pilot machine: not done after {asked.timeout:g} s; `ps` tells how it goes on", file=sys.stderr)
    return 0 if told.settled and all(map(_is_well, told.containers)) else 1


def _is_well(row: graph.ContainerStatus) -> bool:
    if row.status == "exited":
        return row.exit_code == 0
    return row.status in ("running", "stopped") and row.health != "unhealthy"


def _state(row: graph.ContainerStatus) -> str:
    return row.status if row.health == "none" else f"{row.status} ({row.health})"


def _ps(asked: argparse.Namespace) -> int:
    api = PilotApi(asked.dial)
    wanted = api.call(operations.GET_GRAPH, None).containers
    others = {row.name for row in wanted}
    rows = [("KIND", "NAME", "STATUS", "WHAT")]
    for container in api.call(operations.LIST_CONTAINERS, None).containers:
        if container.name not in others:
            ended = ", ".join(f"exit {each.exit_code} at {each.ended}" for each in container.exits)
            rows.append(("container", container.name, container.status, ended or f"pid {container.pid}"))
    rows += [("container", row.name, _state(row), _what(row)) for row in wanted]
    sessions = api.call(operations.LIST_SESSIONS, None).sessions
    rows += [("session", session.id, "running", session.command) for session in sessions]
    _table(rows)
    return 0


def _what(row: graph.ContainerStatus) -> str:
    restarts = f", {row.restarts} restarts" if row.restarts else ""
    return f"pid {row.pid}{restarts}" if row.status == "running" and row.why == "it runs" else f"{row.why}{restarts}"


def _table(rows: Iterable[tuple[str, ...]]) -> None:
    """Columns as wide as they need be, but for the last."""
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))


def _logs(asked: argparse.Namespace) -> int:
    query, timeout_s = _following(asked)
    files: dict[graph.Output, int] = {"stdout": 1, "stderr": 2}
    for piece in lines.read(asked.dial, operations.CONTAINER_LOGS, query=query, timeout_s=timeout_s, name=asked.name):
        if piece.dropped:
            print(f"pilot machine: {piece.dropped} bytes are not kept any more", file=sys.stderr)
        _write(files[piece.stream], piece.data)
    return 0


def _events(asked: argparse.Namespace) -> int:
    query, timeout_s = _following(asked)
    query = [*query, ("since", str(asked.since))]
    for event in lines.read(asked.dial, operations.WATCH_EVENTS, query=query, timeout_s=timeout_s):
        _write(1, msgspec.json.encode(event) + b"\n")
    return 0


def _following(asked: argparse.Namespace) -> tuple[list[tuple[str, str]], float | None]:
    return ([("follow", "true")], None) if asked.follow else ([], lines.BEGIN_S)


def _exec(asked: argparse.Namespace) -> int:
    query = [("cmd", word) for word in asked.command]
    if asked.container is not None:
        query.append(("container", asked.container))
    target = operations.OPEN_SESSION.target({}, query)
    try:
        with web_socket.open_socket(asked.dial, target, SILENCE_S) as socket:
            return _to_its_end(socket)
    except web_socket.Refused as refused:
        raise _meant(refused) from refused
    except (OSError, h11.ProtocolError) as error:
        raise errors.PeerError(f"exec: {error}") from error


def _to_its_end(socket: web_socket.Socket) -> int:
    """Output where it belongs; the exit status. `PeerError` when the session's end was not told."""
    files = {exec_frames.Stream.STDOUT: 1, exec_frames.Stream.STDERR: 2}
    while not isinstance(message := socket.receive(), websocket.Closed):
        match exec_frames.parse_server_message(message, tty=False):
            case exec_frames.Output(stream=stream, data=data):
                _write(files[stream], data)
            case exec_frames.Exit(exit_code=code):
                return code
            case exec_frames.OutputDropped(bytes=count):
                print(f"pilot machine: {count} bytes of output were dropped", file=sys.stderr)
    raise errors.PeerError("exec: the connection ended before the command did")


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _meant(refused: web_socket.Refused) -> errors.PilotError:
    try:
        body = msgspec.json.decode(refused.answer.body, type=faults.ErrorBody)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return refused
    return faults.error_of(refused.answer.status, body.code, f"exec: {body.error}", body.hint)


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "status": _status,
    "run": _run,
    "ps": _ps,
    "logs": _logs,
    "events": _events,
    "exec": _exec,
}
