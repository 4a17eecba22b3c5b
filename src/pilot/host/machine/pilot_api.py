"""The pilot API of one machine, as operations call it: blocking, a connection and a deadline per call.

The machine is not trusted: whatever it answers, a call ends by its deadline, with a small document or an error.
"""

from __future__ import annotations

import array
import http.client
import io
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from ... import errors
from ...wire import dial as lines
from ...wire import faults
from . import dial

QUICK_S = 10.0
WORLD_S = 60.0
MAX_ANSWER_BYTES = 1 << 20
MAX_ERROR = 1000


class PilotApi:
    """`dial_path` is the machine's. `PeerError`: no answer, or not one of ours; any other error is the agent's."""

    def __init__(self, dial_path: str) -> None:
        self._path = dial_path

    def status(self) -> dict[str, Any]:
        return self._call("GET", "/v1/status")

    def adopt(self, identity: Mapping[str, Any]) -> None:
        self._call("POST", "/v1/adopt", identity)

    def start_world(self, world: Mapping[str, Any]) -> dict[str, Any]:
        return self._call("PUT", "/v1/world", world, WORLD_S)

    def run(self, command: str) -> None:
        """A command without arguments or input, in the world; its output and end are nobody's."""
        self._call("POST", f"/v1/exec?cmd={quote(command)}", reads_json=False)

    def stop_world(self) -> None:
        self._call("DELETE", "/v1/world", timeout_s=WORLD_S)

    def freeze(self, deadline_ms: int) -> None:
        self._call("POST", "/v1/world/freeze", {"deadline_ms": deadline_ms})

    def thaw(self) -> dict[str, Any]:
        """`held`: whether the freeze had lasted until now; `frozen_ms`: how long it held writers."""
        return self._call("POST", "/v1/world/thaw")

    def shutdown(self) -> None:
        self._call("POST", "/v1/shutdown")

    def _call(
        self, method: str, path: str, body: Any = None, timeout_s: float = QUICK_S, *, reads_json: bool = True
    ) -> dict[str, Any]:
        connection = _Dialled(self._path, timeout_s)
        try:
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: http.client's own parsing
            raise errors.PeerError(f"{method} {path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status < 400 and not reads_json:
            return {}
        return _parse(f"{method} {path}", answer.status, text)


class _Dialled(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("machine", timeout=timeout_s)
        self._dial_path, self._timeout_s = path, timeout_s

    def connect(self) -> None:
        end = time.monotonic() + self._timeout_s
        self.sock = _Bounded(dial.connect(self._dial_path, lines.PORT_API, self._timeout_s), end)


class _Bounded:
    """What http.client uses of a socket; all of it together ends at `end` (monotonic), and after so many bytes."""

    def __init__(self, stream: socket.socket, end: float) -> None:
        self._stream, self._end = stream, end

    def _hurry(self) -> None:
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._stream.settimeout(left_s)

    def sendall(self, data: bytes) -> None:
        self._hurry()
        self._stream.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Answer(self._stream, self._hurry))

    def close(self) -> None:
        self._stream.close()


class _Answer(io.RawIOBase):
    def __init__(self, stream: socket.socket, hurry: Callable[[], None]) -> None:
        self._stream, self._hurry = stream, hurry
        self._left_bytes = MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._hurry()
        count = self._stream.recv_into(buffer)
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise ConnectionError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        return count


def _parse(what: str, status: int, text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise errors.PeerError(f"{what}: answer {status} is not JSON: {text[:80]!r}") from error
    if not isinstance(document, dict):
        raise errors.PeerError(f"{what}: answer {status} is not an object: {text[:80]!r}")
    if status >= 400:
        told = f"{what}: {str(document.get('error', status))[:MAX_ERROR]}"
        raise faults.error_of(status, str(document.get("code")), told)
    return document


def send_descriptor(dial_path: str, name: str, fd: int, timeout_s: float = QUICK_S) -> None:
    """Give the agent `fd` under `name` (port 10001, `container` only). The caller keeps and closes its own."""
    with dial.connect(dial_path, lines.PORT_DESCRIPTORS, timeout_s) as stream:
        message = json.dumps({"name": name}).encode() + b"\n"
        try:
            stream.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
            answer = stream.recv(lines.MAX_LINE_BYTES)
        except OSError as error:
            raise errors.PeerError(f"send descriptor {name}: {error.strerror or error}") from error
    if answer != b"OK\n":
        raise errors.PeerError(f"send descriptor {name}: {answer.decode(errors='replace').strip() or 'closed'}")
