"""How pilotd asks the daemons of networks: a line of JSON each way over a socket; one question a connection.

    {"op": "sync", "machine": "…"}     the machine's file has changed, or has gone: answered when that is in force
    {"op": "status", "machine": "…"}   how often was decided what
    {"op": "settings"}                 what the daemon was started with

Answers are {"ok": …} or {"error": "…"}. Each daemon has a socket, named as it is, in a directory that is root's alone.
"""

from __future__ import annotations

import os
import socket

import msgspec

from ... import errors
from ...kernel import fds

RESOLVER, CONNECTORS = "resolver", "connectors"
TIMEOUT_S = 10.0
MOST_BYTES = 1 << 20


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    op: str
    machine: str = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    ok: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None


def socket_path(directory: str, who: str = RESOLVER) -> str:
    """Where that daemon of that directory listens."""
    return os.path.join(directory, f"{who}.sock")


def ask(directory: str, question: Question, who: str = RESOLVER) -> msgspec.Raw:
    """The answer to `question`. `PeerError`: nobody answers; `HostError`: it could not be done."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(TIMEOUT_S)
            with fds.short_path(socket_path(directory, who)) as address:
                connection.connect(address)
            connection.sendall(msgspec.json.encode(question) + b"\n")
            with connection.makefile("rb") as file:
                line = file.readline(MOST_BYTES)
        answer = msgspec.json.decode(line, type=Answer)
    except (OSError, *errors.UNREADABLE) as error:
        raise errors.PeerError(f"ask the {who} to {question.op} {question.machine}: {error}") from error
    if answer.error is not None:
        raise errors.HostError(f"{who}: {question.op} {question.machine}: {answer.error}")
    return answer.ok
