"""`sprite exec`: one command over a WebSocket, with our stdin, stdout and stderr as its own.

    without a terminal   0 stdin →, ← 1 stdout, ← 2 stderr, ← 3 exit, 4 end of stdin →     (first byte of each message)
    with a terminal      raw bytes both ways; sizes and the exit code are JSON in text messages

Exits with the command's code. A connection that breaks before the exit is an error, never a success.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import websockets
from websockets.asyncio.client import ClientConnection, connect

from .. import errors
from .account import Account

PIECE_BYTES = 32768
OPEN_TIMEOUT_S = 60.0
STDIN, STDOUT, STDERR, EXIT, STDIN_EOF = range(5)
_SHELL_CODES = {"command_not_found": 127, "command_not_executable": 126}


@dataclasses.dataclass(frozen=True)
class Command:
    """What to run: `arguments` of a new session, or `session` to attach to."""

    arguments: Sequence[str] = ()
    session: str | None = None
    terminal: bool = False
    directory: str | None = None
    environment: Sequence[str] = ()
    detachable: bool = False
    wait: bool = False


def url(account: Account, sprite: str, command: Command, size: os.terminal_size) -> str:
    """The WebSocket's address."""
    base = "ws" + account.url.removeprefix("http")
    path = f"/v1/sprites/{quote(sprite, safe='')}/exec" + (f"/{command.session}" if command.session else "")
    query: list[tuple[str, str]] = [("cmd", word) for word in command.arguments]
    if command.arguments:
        query += [("path", command.arguments[0]), ("stdin", "true")]
    query += [("env", item) for item in command.environment]
    query += [("dir", command.directory)] if command.directory else []
    query += [("detachable", "true")] if command.detachable else []
    query += [("wait", "true")] if command.wait else []
    if command.terminal:
        query += [("tty", "true"), ("rows", str(size.lines)), ("cols", str(size.columns))]
    return f"{base}{path}?{urlencode(query)}"


def run(account: Account, sprite: str, command: Command) -> int:
    """The command's exit code."""
    with _raw_terminal(command.terminal):
        return asyncio.run(_run(account, sprite, command))


@contextlib.contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    """Keys go to the command as they are typed; put back whatever happens."""
    if not wanted or not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


async def _run(account: Account, sprite: str, command: Command) -> int:
    headers = {"Authorization": f"Bearer {account.token}"}
    address = url(account, sprite, command, _size())
    try:
        async with connect(
            address, additional_headers=headers, max_size=None, open_timeout=OPEN_TIMEOUT_S, compression=None
        ) as socket:
            session = _Session(socket, command.terminal)
            feeding = asyncio.create_task(session.feed(), name="stdin")
            try:
                return await session.receive()
            finally:
                feeding.cancel()
    except websockets.InvalidStatus as error:
        refusal = _refused(error)
        if isinstance(refusal, NotRun):
            print(f"sprite: {refusal}", file=sys.stderr)
            return refusal.exit_code
        raise refusal from error
    except (websockets.WebSocketException, OSError) as error:
        raise errors.PeerError(f"exec: the connection broke: {error}") from error


class NotRun(errors.PilotError):
    """The sprite could not run the command. `exit_code`: what a shell would have exited with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def _refused(error: websockets.InvalidStatus) -> errors.PilotError:
    body = error.response.body or b""
    try:
        document = json.loads(body)
        text, code = str(document["error"]), document.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        text, code = body.decode(errors="replace").strip() or f"status {error.response.status_code}", None
    if code in _SHELL_CODES:
        return NotRun(text, _SHELL_CODES[code])
    return errors.NotFound(text) if error.response.status_code == 404 else errors.PeerError(text)


def _size() -> os.terminal_size:
    try:
        return os.get_terminal_size(0)
    except OSError:
        return os.terminal_size((80, 24))


class _Session:
    def __init__(self, socket: ClientConnection, terminal: bool) -> None:
        self._socket = socket
        self._terminal = terminal
        self._code: int | None = None

    async def feed(self) -> None:
        """Our stdin, to its end; sizes of our terminal as they change."""
        loop = asyncio.get_running_loop()
        if self._terminal:
            loop.add_signal_handler(signal.SIGWINCH, lambda: asyncio.ensure_future(self._resize()))
        while data := await _read_stdin(loop):
            await self._socket.send(data if self._terminal else bytes([STDIN]) + data)
        if not self._terminal:
            await self._socket.send(bytes([STDIN_EOF]))

    async def _resize(self) -> None:
        size = _size()
        await self._socket.send(json.dumps({"type": "resize", "cols": size.columns, "rows": size.lines}))

    async def receive(self) -> int:
        """Output until the connection ends; the exit code must have come by then."""
        try:
            async for message in self._socket:
                self._message(message)
        except websockets.ConnectionClosedError:
            # In a terminal the close code of a command that failed is not 1000: it says no more than the exit code did.
            if self._code is None:
                raise
        if self._code is None:
            raise errors.PeerError("exec: the connection ended before the command did")
        return self._code

    def _message(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._text(json.loads(message))
        elif self._terminal:
            _write(1, message)
        else:
            self._frame(message)

    def _text(self, message: dict[str, Any]) -> None:
        if message.get("type") == "exit":
            self._code = int(message["exit_code"])
        elif message.get("type") == "output_dropped":
            print(f"sprite: {message['bytes']} bytes of {message['stream']} are not kept any more", file=sys.stderr)
        elif message.get("type") == "session_info" and "tty" in message:
            # On attach only the server knows.
            self._terminal = bool(message["tty"])

    def _frame(self, message: bytes) -> None:
        stream, payload = message[0], message[1:]
        if stream in (STDOUT, STDERR):
            _write(stream, payload)
        elif stream == EXIT:
            self._code = payload[0]


async def _read_stdin(loop: asyncio.AbstractEventLoop) -> bytes:
    """Up to a piece; nothing at the end. Never makes 0 non-blocking: 1 and 2 may be the same open file."""
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(0, _resolve, ready)
    except PermissionError:
        return os.read(0, PIECE_BYTES)  # a regular file, or /dev/null: epoll(7) refuses what never blocks
    try:
        await ready
    finally:
        loop.remove_reader(0)
    return os.read(0, PIECE_BYTES)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
