"""QEMU's control socket: one JSON object a line, one command at a time.

    ◄ {"QMP": {...}}                      greeting
    ► {"execute": "qmp_capabilities"}     ◄ {"return": {}}
    ► {"execute": NAME, "arguments": {}}  ◄ {"return": VALUE} | {"error": {"desc": TEXT}}; events may come first

QEMU serves one client at a time: connect, say what is to be said, close.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from .... import errors

_MAX_LINE_BYTES = 1 << 20


class Qmp:
    """A connection; made by `connect`. Any error of the socket is a `PeerError`: the machine does not answer."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._unread = bytearray()
        self._events: list[dict[str, Any]] = []

    def execute(self, command: str, arguments: dict[str, Any] | None = None, *, fd: int | None = None) -> Any:
        """What QEMU returns; `HostError` with its words when it refuses. `fd` (borrowed) rides along for `getfd`."""
        message = msgspec.json.encode({"execute": command, "arguments": arguments or {}}) + b"\n"
        try:
            if fd is None:
                self._socket.sendall(message)
            else:
                socket.send_fds(self._socket, [message], [fd])
            while "event" in (answer := self._message()):
                self._events.append(answer)
        except OSError as error:
            raise errors.PeerError(f"ask QEMU to {command}: {error}") from error
        if "error" in answer:
            raise errors.HostError(f"ask QEMU to {command}: {answer['error'].get('desc')}")
        return answer["return"]

    def wait_event(
        self, name: str, wanted: Callable[[dict[str, Any]], bool], silence_s: float
    ) -> dict[str, Any] | None:
        """The data of the first event of that name that is wanted; those before it are dropped. None when nothing is
        heard for `silence_s`."""
        answer_s = self._socket.gettimeout()
        self._socket.settimeout(silence_s)
        try:
            while True:
                event = self._events.pop(0) if self._events else self._message()
                if event.get("event") == name and wanted(event.get("data", {})):
                    return dict(event.get("data", {}))
        except TimeoutError:
            return None
        except OSError as error:
            raise errors.PeerError(f"wait for {name} of QEMU: {error}") from error
        finally:
            self._socket.settimeout(answer_s)

    def greet(self) -> None:
        """Read the greeting and leave negotiation mode."""
        self._message()
        self.execute("qmp_capabilities")

    def _message(self) -> dict[str, Any]:
        return dict(msgspec.json.decode(self._line()))

    def _line(self) -> bytes:
        while b"\n" not in self._unread:
            data = self._socket.recv(65536)
            if not data or len(self._unread) > _MAX_LINE_BYTES:
                raise errors.PeerError("read from QEMU: it closed its control socket")
            self._unread += data
        line, _, rest = bytes(self._unread).partition(b"\n")
        self._unread = bytearray(rest)
        return line


@contextlib.contextmanager
def connect(path: str, timeout_s: float) -> Iterator[Qmp]:
    """A connection that is ready for commands; each answer may take `timeout_s`. `PeerError` when nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(path)
            qmp = Qmp(connection)
            qmp.greet()
        except OSError as error:
            raise errors.PeerError(f"connect to QEMU at {path}: {error}") from error
        yield qmp
