"""One channel of an SSH connection, as a session of the machine: input, output, window, signals and exit status.

    no command     a login shell      with a terminal, or without
    a command      sh -c COMMAND      as sshd(8) does

When the client goes, the session goes: what is to run on is started so (`nohup`, a service).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence

import asyncssh

from .. import errors
from ..server import client
from ..server.call import WebSocket
from ..server.stream import dial_unix
from ..wire import dial, exec_frames, operations, websocket
from .gate import MACHINE, gate_of, is_container

READ_BYTES = 32 * 1024
OPEN_S = 30.0
FAILED = 255  # as of ssh(1) itself
_LOGIN = "if command -v bash >/dev/null 2>&1; then exec bash -l; fi; exec sh -l"
# What sshd takes of the client's environment where it is configured as distributions have it.
_TAKEN = ("LANG", "LC_", "COLORTERM", "NO_COLOR")

Process = asyncssh.SSHServerProcess[bytes]


async def serve(process: Process, dial_path: str) -> None:
    """From the channel's beginning to its end. What goes wrong is told to the client."""
    container = str(process.get_extra_info("username"))
    try:
        if container != MACHINE and not is_container(container):  # the agent takes an empty one for the world
            raise errors.NotFound(f"container {container!r}: no container could be called so")
        gate = gate_of(process)
        told = functools.partial(gate.log.write, name=container, by=gate.certificate, command=process.command or "")
        told("command")
        stream = await dial_unix(dial_path, dial.PORT_API, timeout_s=OPEN_S)
        socket = await client.open_websocket(stream, target(process, container), timeout_s=OPEN_S)
        try:
            code = await _talk(process, socket, tty=process.term_type is not None)
        finally:
            stream.abort()
        told("ended", exit_code=code)
    except (errors.PilotError, OSError) as error:
        process.stderr.write(f"pilot: {error}\r\n".encode())
        code = FAILED
    process.exit(code)


def target(process: Process, container: str) -> str:
    """What the machine is asked for. An empty command (of a client, or forced by a certificate) is one that does
    nothing, and no login shell.
    """
    words = ["sh", "-c", _LOGIN if process.command is None else process.command]
    query = [("cmd", word) for word in words]
    query += [("stdin", "true"), ("max_run_after_disconnect", "1s")]
    environment = dict(_environment(process))
    if process.term_type is not None:
        columns, rows, *_ = process.term_size
        query += [("tty", "true"), ("cols", str(columns or 80)), ("rows", str(rows or 24))]
        environment["TERM"] = process.term_type
    query += [("env", f"{name}={value}") for name, value in environment.items()]
    if container == MACHINE:
        return operations.OPEN_MACHINE_SESSION.target({}, query)
    return operations.OPEN_SESSION.target({}, [("container", container), *query])


def _environment(process: Process) -> Sequence[tuple[str, str]]:
    return [(name, value) for name, value in process.env.items() if name.startswith(_TAKEN)]


async def _talk(process: Process, socket: WebSocket, *, tty: bool) -> int:
    """The exit status; that of a client that has gone is nobody's."""
    told = asyncio.create_task(_output(process, socket, tty=tty), name="output")
    asked = asyncio.create_task(_input(process, socket, tty=tty), name="input")
    gone = asyncio.create_task(process.channel.wait_closed(), name="channel")
    try:
        await asyncio.wait([told, gone], return_when=asyncio.FIRST_COMPLETED)
        return told.result() if told.done() else FAILED
    finally:
        for task in (told, asked, gone):
            task.cancel()
        await asyncio.gather(told, asked, gone, return_exceptions=True)


async def _output(process: Process, socket: WebSocket, *, tty: bool) -> int:
    files = {exec_frames.Stream.STDOUT: process.stdout, exec_frames.Stream.STDERR: process.stderr}
    while not isinstance(message := await socket.receive(), websocket.Closed):
        match exec_frames.parse_server_message(message, tty=tty):
            case exec_frames.Output(stream=stream, data=data):
                files[stream].write(data)
                await files[stream].drain()
            case exec_frames.Exit(exit_code=code):
                return code
            case exec_frames.OutputDropped(bytes=count):
                process.stderr.write(f"pilot: {count} bytes of output were dropped\r\n".encode())
    raise errors.PeerError("the machine ended the connection before the command did")


async def _input(process: Process, socket: WebSocket, *, tty: bool) -> None:
    while True:
        try:
            data = await process.stdin.read(READ_BYTES)
        except asyncssh.TerminalSizeChanged as size:
            if size.width and size.height:
                await socket.send(exec_frames.text(exec_frames.Resize(cols=size.width, rows=size.height)))
            continue
        except asyncssh.SignalReceived as received:
            await socket.send(exec_frames.text(exec_frames.Signal(signal=received.signal)))
            continue
        except asyncssh.BreakReceived:
            await socket.send(exec_frames.text(exec_frames.Signal(signal="INT")))
            continue
        if not data:
            break
        await socket.send(exec_frames.stdin_message(data, tty=tty))
    if not tty:
        await socket.send(exec_frames.STDIN_EOF_MESSAGE)
