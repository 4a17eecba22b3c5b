"""A WebSocket's handshake that is accepted before the machine is there.

Clients give a handshake some ten seconds (sprites-py), and what follows it as long as it takes; a machine that has to
start on a busy host may take longer. So one that is still waiting after PATIENCE_S is accepted here, by what its own
head says. What the client sends from then on waits in the pipe until the machine has accepted it as well; when it does
not, or does not wake, the reason is in the close frame (1011), since the status is said already.

    asked ── the machine's 101, or its refusal ──► passed on as they are
      └ PATIENCE_S ──► 101 ── the machine's ──► bytes
                            └ its refusal, or none ──► close
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import msgspec

from ... import errors
from ...wire import exec_frames, faults, operations, websocket
from ...wire.operations import AnyOperation
from . import heads
from .edge import Exchange
from .heads import Headers
from .machine_answer import SWITCHING_PROTOCOLS
from .pipe import Pipe

PATIENCE_S = 5.0
_PROTOCOL = b"sec-websocket-protocol"
# What a machine says beside the handshake's own headers.
_SAID = dict.fromkeys((operations.OPEN_SESSION, operations.ATTACH_SESSION), (exec_frames.SIGNAL_HEADER,))


class Handshake:
    """One client's. Its block is that in which the machine is woken and asked."""

    def __init__(self, exchange: Exchange, operation: AnyOperation, own: Sequence[tuple[bytes, bytes]]) -> None:
        self._exchange = exchange
        self._head = _accepting(exchange.head, operation, own)
        self._pipe: Pipe | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        if self._head is not None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._accept, asyncio.current_task())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def done(self) -> Pipe | None:
        """The machine has answered: nothing is accepted any more; the pipe, if it was already."""
        self._end()
        return self._pipe

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _accept(self, waiting: asyncio.Task[None] | None) -> None:
        assert self._head is not None
        self._pipe = Pipe(waiting)
        self._exchange.take_over(self._pipe).write(self._head)


def accepted(head: Headers) -> bytes:
    """The 101 with these headers, and those of every one."""
    ours = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    return heads.render(heads.status_line(SWITCHING_PROTOCOLS), [*ours, *head])


class _Refusal(msgspec.Struct, frozen=True):
    """What pilotd's and machines' have in common."""

    error: str


def refusal(status: int, body: bytes) -> bytes:
    """The close frame that tells of an answer that is none."""
    try:
        reason = msgspec.json.decode(body, type=_Refusal).error
    except errors.UNREADABLE:  # of an agent of another kind
        reason = f"status {status}"
    return closing(reason)


def closing(reason: str) -> bytes:
    """A close frame with that reason."""
    socket = websocket.WebSocket(websocket.Side.SERVER)
    socket.close(websocket.CLOSE_INTERNAL, reason)
    return socket.take_output()


def _accepting(head: heads.Head, operation: AnyOperation, own: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The 101 that its machine would say; None for a handshake that only the machine can judge."""
    if head.first(_PROTOCOL) is not None:
        return None
    told = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    try:
        ours = websocket.accept_headers(told)
    except faults.InvalidRequest:
        return None
    said = [pair for pair in (*ours, *_SAID.get(operation, ())) if pair[0] not in ("Upgrade", "Connection")]
    return accepted((*((name.lower().encode(), value.encode()) for name, value in said), *own))
