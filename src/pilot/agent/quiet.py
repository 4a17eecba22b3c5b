"""The client of a terminal through which nothing goes any more: let go of, where its host says after how long.

A use of a terminal is input (bytes, a resize, a signal, a client that comes), or output that a client is sent.
Keepalives and pings are none, and only the agent can tell them apart. The session lives on, and can be attached to.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable

from .. import errors
from ..server.call import WebSocket
from ..wire import duration, exec_frames, faults, http
from .session import Session

PARAMETER = "detach_after"
MOST_S = 1e9


@dataclasses.dataclass(frozen=True)
class Quiet:
    """Of one client. `now_s`: the clock of `Session.touched_s`."""

    session: Session
    limit_s: float
    now_s: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def wait(self) -> None:
        """Returns when the session has not been used for so long. Its client is about to be let go of, and does not
        leave: what it has asked for in that case is not done."""
        while (left_s := self.session.touched_s + self.limit_s - self.now_s()) > 0:
            await self.pause(left_s)
        self.session.keep()

    async def tell(self, socket: WebSocket) -> None:
        """Goodbye, and why."""
        reason = f"detached: no input or output for {_told(self.limit_s)}; attach to session {self.session.meta.id}"
        await socket.close(exec_frames.CLOSE_DETACHED, f"{reason} to go on")


def limit_s(request: http.Request) -> float | None:
    """After how long, as this client or its host says; None for never. `InvalidRequest`."""
    text = request.first(PARAMETER)
    try:
        return min(duration.parse_duration_s(text), MOST_S) or None if text else None
    except errors.PilotError as error:
        raise faults.InvalidRequest(f"{PARAMETER}: {error}") from error


def of(session: object, limit_s: float | None) -> Quiet | None:
    """None where there is nothing to watch: no limit, no terminal, or one whose command has ended."""
    if limit_s is None or not isinstance(session, Session) or not session.meta.tty:
        return None
    return Quiet(session, limit_s)


def _told(seconds: float) -> str:
    return f"{seconds:g} s" if seconds % 60 else f"{seconds / 60:g} min"
