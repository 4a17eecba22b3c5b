"""The pilot API of one machine, as operations call it: blocking, a connection and a deadline per call.

    api.call(operations.GET_STATUS, None) -> schema.Status

The machine is not trusted: whatever it answers, a call ends by its deadline, with a value or an error.
"""

from __future__ import annotations

import array
import json
import math
import socket
from collections.abc import Sequence
from types import NoneType
from typing import cast

import h11
import msgspec

from .. import errors
from ..wire import dial as lines
from ..wire import faults, operations, schema
from ..wire.operations import Answered, Asked, Operation
from . import dial, exchange

# Beside the agent's own deadline: it has said that it was not done in time before we give up.
GRACE_S = 2.0
MAX_S = 600.0
MAX_NOISE = 200  # of what is not HTTP


class PilotApi:
    """`dial_path` is the machine's. `PeerError`: no answer, or not one of ours; any other error is the agent's.

    `end_s`: of `time.monotonic`, when all calls together have to have ended; else each has its own deadline alone.
    """

    def __init__(self, dial_path: str, end_s: float = math.inf) -> None:
        self._path = dial_path
        self._end_s = end_s

    def call(
        self,
        operation: Operation[Asked, Answered],
        asked: Asked,
        *,
        query: Sequence[tuple[str, str]] = (),
        request_id: str | None = None,
        **parameters: str,
    ) -> Answered:
        """Ask, and wait for the whole answer. Not for WebSockets or answers in lines.

        With a `request_id` it is done once, however often it is asked: a machine tells the first answer again.
        """
        assert not operation.websocket
        assert not operation.lines
        assert not operation.many
        assert operation.deadline_s is not None
        what = f"{operation.method} {operation.path}"
        request = _request(operation, operation.target(parameters, query), _body(asked), request_id)
        try:
            timeout_s = min(operation.deadline_s + GRACE_S, MAX_S, exchange.left_s(self._end_s))
            answer = exchange.exchange(self._path, timeout_s, *request)
        except (OSError, h11.ProtocolError) as error:
            raise errors.PeerError(f"{what}: {(str(error) or type(error).__name__)[:MAX_NOISE]}") from error
        return _answered(what, operation, answer)

    def status(self) -> schema.Status:
        """What the machine says of itself: also the question whether it says anything."""
        return self.call(operations.GET_STATUS, None)


class _Refusal(msgspec.Struct, frozen=True):
    """As `faults.ErrorBody`, of whoever."""

    error: str = "no reason given"
    code: str = ""
    hint: str | None = None


def _body(asked: object) -> bytes:
    if asked is None:
        return b""
    return asked if isinstance(asked, bytes) else msgspec.json.encode(asked)


def _request(
    operation: Operation[Asked, Answered], target: str, body: bytes, request_id: str | None
) -> tuple[h11.Request, bytes]:
    headers = [("Content-Type", "application/json")] if issubclass(operation.asked, msgspec.Struct) else []
    if request_id is not None:
        headers.append((operations.REQUEST_ID, request_id))
    return exchange.request_head(operation.method, target, len(body), headers=headers), body


def _answered(what: str, operation: Operation[Asked, Answered], answer: exchange.Answer) -> Answered:
    """The value that the row promises, or the error that was meant."""
    if answer.status >= 400:
        refusal = exchange.decoded(what, answer.status, answer.body, _Refusal)
        hint = refusal.hint and refusal.hint[: exchange.MAX_ERROR]
        raise faults.error_of(answer.status, refusal.code, f"{what}: {refusal.error[: exchange.MAX_ERROR]}", hint)
    if answer.status != operation.status:
        raise errors.PeerError(f"{what}: answer {answer.status} where {operation.status} is meant")
    if operation.answered is NoneType:
        return cast(Answered, None)
    if operation.answered is bytes:
        return cast(Answered, answer.body)
    return exchange.decoded(what, answer.status, answer.body, operation.answered)


def send_descriptor(dial_path: str, name: str, fd: int, timeout_s: float = operations.QUICK_S) -> None:
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
