"""A command in a Machine, with all of its output: for the API's `exec`, which tells it in one answer."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import IO

import h11
import msgspec

from ... import errors
from ...machine import web_socket
from ...wire import exec_frames, faults, operations, websocket
from ...wire.exec_frames import Stream

MOST_OUTPUT_BYTES = 4 << 20
_SILENCE_S = 60.0


@dataclasses.dataclass(frozen=True)
class Command:
    """`container`: its name in the Machine. `stdin`: read to its end, and left open; None: it has none."""

    container: str
    words: tuple[str, ...]
    stdin: IO[bytes] | None
    timeout_s: float


@dataclasses.dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: bytes
    stderr: bytes


def run(dial_path: str, command: Command) -> Result:
    """Blocks until it has ended. `DeadlineExceeded` when its time is over: then it is ended a moment later."""
    query = [("cmd", word) for word in command.words]
    query += [("container", command.container), ("max_run_after_disconnect", "1s")]
    query += [("stdin", "true")] if command.stdin is not None else []
    target = operations.OPEN_SESSION.target({}, query)
    end_s = time.monotonic() + command.timeout_s
    try:
        with web_socket.open_socket(dial_path, target, min(_SILENCE_S, command.timeout_s)) as socket:
            if command.stdin is not None:
                _send(socket, command.stdin, end_s)
            return _to_its_end(socket, end_s)
    except web_socket.Refused as refused:
        raise _meant(refused) from refused
    except TimeoutError as error:
        raise faults.DeadlineExceeded(f"the command did not end within {command.timeout_s:g} s") from error
    except (OSError, h11.ProtocolError) as error:
        raise errors.PeerError(f"exec: {error}") from error


def _send(socket: web_socket.Socket, stdin: IO[bytes], end_s: float) -> None:
    """To its end, or that of a command that has not read all of it: what it said is then to be read."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while piece := stdin.read(exec_frames.MAX_PAYLOAD):
            if time.monotonic() > end_s:
                raise TimeoutError
            socket.send(exec_frames.stdin_message(piece, tty=False))
        socket.send(exec_frames.STDIN_EOF_MESSAGE)


def _to_its_end(socket: web_socket.Socket, end_s: float) -> Result:
    output = {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
    while not isinstance(message := socket.receive(), websocket.Closed):
        if time.monotonic() > end_s:
            raise TimeoutError
        match exec_frames.parse_server_message(message, tty=False):
            case exec_frames.Output(stream=stream, data=data):
                output[stream] += data
                if sum(map(len, output.values())) > MOST_OUTPUT_BYTES:
                    raise faults.TooLarge(f"exec: more than {MOST_OUTPUT_BYTES} bytes of output")
            case exec_frames.Exit(exit_code=code):
                return Result(code, bytes(output[Stream.STDOUT]), bytes(output[Stream.STDERR]))
    raise errors.PeerError("exec: the connection ended before the command did")


def _meant(refused: web_socket.Refused) -> errors.PilotError:
    try:
        body = msgspec.json.decode(refused.answer.body, type=faults.ErrorBody)
    except errors.UNREADABLE:
        return refused
    return faults.error_of(refused.answer.status, body.code, body.error, body.hint)
