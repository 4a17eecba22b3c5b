"""After 101: bytes as they come between two connections, and nothing is parsed any more.

    client ─ End ══ other's transport ─ End ─ sprite

Each side pauses the other while it takes nothing, and passes its end on. One that is gone takes the other with it, once
that has been sent what was on the way.
"""

from __future__ import annotations

import asyncio
from typing import cast

FAREWELL_S = 10.0


class End(asyncio.Protocol):
    """One of the two. Until they are joined, what comes waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._other: End | None = None
        self._early: list[bytes] = []
        self._has_ended = False
        self._transport: asyncio.Transport | None = None

    def join(self, other: End) -> None:
        """What comes here goes there."""
        self._other = other
        for data in self._early:
            other.write(data)
        self._early.clear()
        if self._has_ended:
            other.end(self)
        if self.lost.done():
            other.close()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self, other: End) -> None:
        """`other` sends no more."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._has_ended or not self._transport.can_write_eof():
            self._transport.close()  # TLS has no half: its end is that of both directions
            other.close()
        else:
            self._transport.write_eof()

    def close(self) -> None:
        """What has been written is still sent, to one that reads it soon."""
        if self._transport is not None and not self.lost.done():
            self._transport.close()
            self._loop.call_later(FAREWELL_S, self._transport.abort)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early.append(data)
        else:
            self._other.write(data)

    def eof_received(self) -> bool:
        self._has_ended = True
        if self._other is not None:
            self._other.end(self)
        return self._transport is not None and self._transport.can_write_eof()

    def connection_lost(self, reason: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        if self._other is not None:
            self._other.close()

    def pause_writing(self) -> None:
        """This side takes nothing: the other is not read from."""
        if self._other is not None and self._other._transport is not None:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and self._other._transport is not None:
            self._other._transport.resume_reading()
