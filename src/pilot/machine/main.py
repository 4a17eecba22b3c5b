"""`pilot machine --dial PATH VERB`: for people in the orchestrator's place. Through the contract alone.

status                 what the machine says of itself
ps                     its containers and sessions
exec -- COMMAND …      run a command in the user's world; its output, and its exit status as ours
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

import h11
import msgspec

from .. import errors
from ..wire import exec_frames, faults, operations, websocket
from . import web_socket
from .pilot_api import PilotApi

# Nothing is said for so long by a session that lives: it says that it does every ten seconds.
SILENCE_S = 60.0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="pilot machine", description="drive a machine through the pilot API")
    made.add_argument("--dial", required=True, metavar="PATH", help="the machine's dial socket")
    verbs = made.add_subparsers(dest="verb", required=True)
    verbs.add_parser("status", help="what the machine says of itself, as JSON")
    verbs.add_parser("ps", help="its containers and sessions")
    execute = verbs.add_parser("exec", help="run a command in the user's world")
    execute.add_argument("command", nargs="+", metavar="COMMAND")
    return made


def main(arguments: list[str]) -> int:
    """The exit status: of `exec` the command's own."""
    asked = parser().parse_args(arguments)
    return _VERBS[asked.verb](asked)


def _status(asked: argparse.Namespace) -> int:
    status = PilotApi(asked.dial).status()
    print(msgspec.json.format(msgspec.json.encode(status)).decode())
    return 0


def _ps(asked: argparse.Namespace) -> int:
    api = PilotApi(asked.dial)
    containers = api.call(operations.LIST_CONTAINERS, None).containers
    sessions = api.call(operations.LIST_SESSIONS, None).sessions
    rows = [("KIND", "NAME", "STATUS", "WHAT")]
    for container in containers:
        ended = ", ".join(f"exit {each.exit_code} at {each.ended}" for each in container.exits)
        rows.append(("container", container.name, container.status, ended or f"pid {container.pid}"))
    rows += [("session", session.id, "running", session.command) for session in sessions]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)) + f"  {row[3]}")
    return 0


def _exec(asked: argparse.Namespace) -> int:
    query = [("cmd", word) for word in asked.command]
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
    except errors.UNREADABLE:
        return refused
    return faults.error_of(refused.answer.status, body.code, f"exec: {body.error}", body.hint)


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {"status": _status, "ps": _ps, "exec": _exec}
