"""Sockets that somebody else makes and uses for us, behind a pair of pipes: there a program, here objects like sockets.

    here ──{"op": "connect", "socket": 3, "arguments": […]}──► there        a line of JSON each way, in order
         ◄──{"value": …} or {"errno": 111, "error": "…"}──

Bytes are base64, in {"bytes": "…"}; an address is a list. It is for tests inside of virtual machines, whose network
namespaces our threads cannot join.
"""

from __future__ import annotations

import base64
import io
import json
import socket
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

# What runs there: Python's standard library is all that it has.
PROGRAM = r"""
import base64, json, socket, sys
made = {}
def decoded(value):
    if isinstance(value, dict):
        return base64.b64decode(value["bytes"])
    return tuple(map(decoded, value)) if isinstance(value, list) else value
def encoded(value):
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return list(map(encoded, value)) if isinstance(value, (tuple, list)) else value
def answer(op, number, arguments):
    if op == "make":
        made[number] = socket.socket(*arguments)
        made[number].settimeout(15)
    elif op == "close":
        made.pop(number).close()
    elif op == "send_each":
        for data in arguments[0]:
            made[number].send(data)
    else:
        return encoded(getattr(made[number], op)(*arguments))
for line in sys.stdin:
    asked = json.loads(line)
    try:
        said = {"value": answer(asked["op"], asked["socket"], decoded(asked["arguments"]))}
    except OSError as error:
        said = {"errno": error.errno, "error": error.strerror or str(error)}
    print(json.dumps(said), flush=True)
"""


class Far:
    """The other side, as a process whose standard input and output lead there. Close it."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*command, "python3", "-u", "-c", PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._lock = threading.Lock()
        self._made = 0

    def close(self) -> None:
        self._process.communicate()

    def make(self, family: int, kind: int, protocol: int = 0) -> FarSocket:
        """A new socket there."""
        self._made += 1
        self.ask("make", self._made, int(family), int(kind), protocol)
        return FarSocket(self, self._made)

    def ask(self, op: str, number: int, *arguments: object) -> Any:
        """What `op` returns there; its `OSError` is raised here."""
        asked = {"op": op, "socket": number, "arguments": _encoded(arguments)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        assert line, "the other side has gone"
        said = json.loads(line)
        if "error" in said:
            raise TimeoutError(said["error"]) if said["errno"] is None else OSError(said["errno"], said["error"])
        return _decoded(said["value"])


class FarSocket:
    """The part of `socket.socket` that tests use."""

    def __init__(self, far: Far, number: int) -> None:
        self._far = far
        self._number = number

    def __enter__(self) -> FarSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        """settimeout, connect, send, recv …: as there."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self._far.ask(name, self._number, *arguments)

    def close(self) -> None:
        self._far.ask("close", self._number)

    def makefile(self, mode: str) -> io.BufferedReader:
        """For reading only."""
        assert mode == "rb"
        return io.BufferedReader(_Raw(self))


class _Raw(io.RawIOBase):
    def __init__(self, of: FarSocket) -> None:
        self._of = of

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._of.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _encoded(value: object) -> object:
    if isinstance(value, bytes | bytearray):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, tuple | list):
        return [_encoded(each) for each in value]
    return int(value) if isinstance(value, socket.AddressFamily | socket.SocketKind) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["bytes"])
    return tuple(_decoded(each) for each in value) if isinstance(value, list) else value
