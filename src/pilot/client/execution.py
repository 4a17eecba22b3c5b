"""`sprite exec`: one command over a WebSocket, with our stdin, stdout and stderr as its own.

    without a terminal   0 stdin →, ← 1 stdout, ← 2 stderr, ← 3 exit, 4 end of stdin →     (first byte of each message)
    with a terminal      raw bytes both ways; sizes and the exit code are JSON in text messages

Exits with the command's code. A connection that breaks before the exit is an error, never a success. Ctrl+\\ leaves a
terminal's command to run on, and so does a server when nothing was typed or shown for long; it is attached to again by
`sprite attach`. Ctrl+C without a terminal goes to the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal

from .. import errors
from . import http, output, websocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from .account import Account

PIECE_BYTES = 32768
# So much of our stdin is read ahead of what the server takes.
BACKLOG_BYTES = 1 << 20
DETACH = 0x1C
DETACHED = (1001, "detached")  # the close code of a server that has let go of us, and what its reason begins with
STDIN, STDOUT, STDERR, EXIT, STDIN_EOF = range(5)
_SHELL_CODES = {"command_not_found": 127, "command_not_executable": 126}
_FORWARDED = {signal.SIGINT: "INT", signal.SIGTERM: "TERM", signal.SIGHUP: "HUP"}


class Command:
    """What to run: `arguments` of a new session, or `session` to attach to."""

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        session: str | None = None,
        terminal: bool = False,
        directory: str | None = None,
        environment: Sequence[str] = (),
        detachable: bool = False,
        wait: bool = False,
    ) -> None:
        self.arguments = arguments
        self.session = session
        self.terminal = terminal
        self.directory = directory
        self.environment = environment
        self.detachable = detachable
        self.wait = wait


def target(sprite: str, command: Command, size: os.terminal_size) -> str:
    """The request's target."""
    path = f"/v1/sprites/{http.quoted(sprite)}/exec" + (f"/{http.quoted(command.session)}" if command.session else "")
    query: list[tuple[str, str]] = [("cmd", word) for word in command.arguments]
    if command.arguments:
        query += [("path", command.arguments[0]), ("stdin", "true")]
    query += [("env", item) for item in command.environment]
    query += [("dir", command.directory)] if command.directory else []
    query += [("detachable", "true")] if command.detachable else []
    query += [("wait", "true")] if command.wait else []
    if command.terminal:
        query += [("tty", "true"), ("rows", str(size.lines)), ("cols", str(size.columns))]
    return http.target(path, query)


def run(account: Account, sprite: str, command: Command) -> int:
    """The command's exit code."""
    try:
        socket = websocket.connect(account, target(sprite, command, _size()))
    except websocket.Refused as refused:
        return _refused(refused)
    try:
        with _raw_terminal(command.terminal), _signals() as signals_fd:
            code, session = _Session(socket, command.terminal, signals_fd).run()
    finally:
        socket.close()
    if code is None:
        why = socket.close_reason.partition(";")[0]
        output.end_line()
        output.tell(f"{why or DETACHED[1]}; it runs on: sprite attach -s {sprite} {session}")
        # Who has left meant it. Who was let go of while waiting for a command's end has not got it.
        return 1 if why and not (command.detachable or command.session) else 0
    return code


def _refused(refused: websocket.Refused) -> int:
    """What a shell would have exited with, where the sprite could not run the command."""
    try:
        code = json.loads(refused.body).get("code")
    except (ValueError, AttributeError):
        code = None
    if code in _SHELL_CODES:
        output.tell(f"sprite: {refused}")
        return _SHELL_CODES[code]
    raise http.refusal(refused.status, refused.body) from refused


@contextlib.contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    """Keys go to the command as they are typed; put back whatever happens."""
    if not wanted or not os.isatty(0):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSADRAIN)  # what was typed meanwhile is for the command
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that has the number of each signal that came, as a byte."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    before_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in (*_FORWARDED, signal.SIGWINCH)}
    try:
        yield read_fd
    finally:
        for number, act in before.items():
            signal.signal(number, act)
        signal.set_wakeup_fd(before_fd)
        os.close(read_fd)
        os.close(write_fd)


def _size() -> os.terminal_size:
    try:
        size = os.get_terminal_size(0)
        if size.lines and size.columns:
            return size  # a terminal that nobody has told its size says 0
    except OSError:
        pass  # none
    return os.terminal_size((80, 24))


class _Session:
    """One loop over the connection, our stdin and our signals. None of them waits for another."""

    def __init__(self, socket: websocket.WebSocket, terminal: bool, signals_fd: int) -> None:
        self._socket = socket
        self._terminal = terminal
        self._signals_fd = signals_fd
        self._session = ""
        self._code: int | None = None
        self._stdin_open = True
        self._interrupts = 0
        self._has_left = False

    def run(self) -> tuple[int | None, str]:
        """The exit code (None: detached), and the session's id."""
        while self._socket.close_code is None and not self._has_left:
            ready = self._wait()
            if self._signals_fd in ready:
                self._on_signals(os.read(self._signals_fd, 64))
            if 0 in ready and not self._has_left:
                self._on_stdin(os.read(0, PIECE_BYTES))
            if self._socket.fileno() in ready:
                self._socket.flush()
                for message in self._socket.read():
                    self._on_message(message)
        if self._has_left or (self._code is None and self._was_let_go()):
            return None, self._session
        if self._code is None:
            raise errors.PeerError(self._socket.close_reason or "exec: the connection ended before the command did")
        return self._code, self._session

    def _was_let_go(self) -> bool:
        code, word = DETACHED
        return self._terminal and self._socket.close_code == code and self._socket.close_reason.startswith(word)

    def _wait(self) -> set[int]:
        poll = select.poll()
        poll.register(self._signals_fd, select.POLLIN)
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._socket.wants_write else 0))
        if self._stdin_open and self._socket.backlog_bytes < BACKLOG_BYTES:
            poll.register(0, select.POLLIN)
        found = {number for number, _ in poll.poll(0 if self._socket.has_pending else None)}
        return found | ({self._socket.fileno()} if self._socket.has_pending else set())

    def _on_stdin(self, data: bytes) -> None:
        if self._terminal:
            if (at := data.find(bytes([DETACH]))) >= 0 and os.isatty(0):
                self._socket.send(data[:at])
                self._socket.leave()
                self._has_left = True
            elif data:
                self._socket.send(data)
            else:
                self._stdin_open = False
        elif data:
            self._socket.send(bytes([STDIN]) + data)
        else:
            self._stdin_open = False
            self._socket.send(bytes([STDIN_EOF]))

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGWINCH:
                if self._terminal:
                    size = _size()
                    self._tell({"type": "resize", "cols": size.columns, "rows": size.lines})
                continue
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt  # whoever asks twice means us
            self._tell({"type": "signal", "signal": _FORWARDED[signal.Signals(number)]})

    def _tell(self, message: dict[str, Any]) -> None:
        self._socket.send(json.dumps(message))

    def _on_message(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._on_text(json.loads(message))
        elif self._terminal:
            output.write_all(1, message)
        elif message[:1] in (b"\1", b"\2"):
            output.write_all(message[0], message[1:])
        elif message[:1] == b"\3":
            self._code = message[1]

    def _on_text(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "exit":
            self._code = int(message["exit_code"])
        elif kind == "output_dropped":
            output.tell(f"sprite: {message['bytes']} bytes of {message['stream']} are not kept any more")
        elif kind == "session_info":
            self._session = str(message.get("session_id", ""))
            self._terminal = bool(message.get("tty", self._terminal))  # on attach only the server knows
