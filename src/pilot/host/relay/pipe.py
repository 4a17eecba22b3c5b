"""A connection after 101: bytes as they come, in both directions, and nothing is parsed any more.

Each direction pauses its source when the other side does not take what it was given, and ends by itself: what is on the
way is delivered, then the other side is told. A side that is gone ends both.
"""

from __future__ import annotations

import asyncio
from typing import cast

from ...machine.dial import Stream

HIGH_WATER_BYTES = 1 << 20
# After the machine has said all, a client that says nothing for so long is let go.
FAREWELL_S = 10.0


class Pipe(asyncio.Protocol):
    """The client's end; `run` copies until both directions are through. `waiting` is who will call it: cancelled when
    the client goes before that."""

    def __init__(self, waiting: asyncio.Task[None] | None = None) -> None:
        self._received = bytearray()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._came_bytes = 0
        self._has_ended = False
        self._is_deaf = False
        self._running = waiting

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._came_bytes += len(data)
        if not self._is_deaf:
            self._received += data
        self._news.set()
        if len(self._received) > HIGH_WATER_BYTES:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._has_ended = True
        self._news.set()
        return self._transport.can_write_eof()

    def connection_lost(self, reason: Exception | None) -> None:
        self._writable.set()
        if self._running is not None:
            self._running.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def close(self, last: bytes) -> None:
        """Instead of `run`: the client is told this, and that is all."""
        self._transport.write(last)
        self._transport.close()

    # Both directions

    async def run(self, stream: Stream) -> None:
        """Until both have ended, or one side is gone; then the client's connection is closed."""
        self._running = asyncio.create_task(self._copy(stream), name="pipe")
        try:
            await asyncio.wait({self._running})
        finally:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            # Closing flushes what is still to be written: the exit frame is never cut off.
            self._transport.close()

    async def _copy(self, stream: Stream) -> None:
        sending = asyncio.create_task(self._to_machine(stream), name="pipe-to-machine")
        try:
            while data := await stream.receive():
                self._transport.write(data)
                await self._writable.wait()
            if not self._transport.is_closing() and self._transport.can_write_eof():
                self._transport.write_eof()
            await self._farewell(sending)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _to_machine(self, stream: Stream) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            data, self._received = bytes(self._received), bytearray()
            if not self._transport.is_closing():
                self._transport.resume_reading()
            try:
                if data:
                    await stream.send(data)
                elif self._has_ended:
                    stream.end()
                    return
            except OSError:
                # It has closed; what it said before that is still being read, and ends the other direction.
                self._is_deaf = True
                return
            if self._has_ended:
                self._news.set()

    async def _farewell(self, sending: asyncio.Task[None]) -> None:
        """The client's own end, for as long as it goes on saying something."""
        while not sending.done():
            before = self._came_bytes
            await asyncio.wait({sending}, timeout=FAREWELL_S)
            if self._came_bytes == before:
                return
