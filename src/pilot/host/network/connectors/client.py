"""The machine's side of one connection: what it sends and what it is answered, as h11 has it."""

from __future__ import annotations

import asyncio

import h11

from .head import MOST_BYTES
from .outside import PIECE_BYTES, STALL_S


class Client:
    """`http` says where the conversation is. Close it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_BYTES)
        self._asks_for_head = False

    async def receive(self, patience_s: float) -> h11.Event:
        """The next thing that it says. `h11.RemoteProtocolError`, `TimeoutError`, `OSError`."""
        while True:
            event = self.http.next_event()
            if isinstance(event, h11.Request):
                self._asks_for_head = event.method == b"HEAD"
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise h11.RemoteProtocolError("it speaks out of turn")
            async with asyncio.timeout(patience_s):
                self.http.receive_data(await self._reader.read(PIECE_BYTES))

    async def send(self, event: h11.Event) -> None:
        """`OSError` when it takes no more."""
        data = self.http.send(event)
        if data:
            self._writer.write(data)
            async with asyncio.timeout(STALL_S):
                await self._writer.drain()

    async def say(self, status: int, why: str) -> None:
        """An answer of our own, after which nothing follows; where one has begun already, nothing."""
        if self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        text = f"pilot connector: {why}\n".encode()
        headers = [("content-type", "text/plain"), ("content-length", str(len(text))), ("connection", "close")]
        await self.send(h11.Response(status_code=status, headers=headers))
        if not self._asks_for_head:
            await self.send(h11.Data(data=text))
        await self.send(h11.EndOfMessage())

    def close(self) -> None:
        """What was sent is on its way still."""
        self._writer.close()

    def cut(self) -> None:
        """At once: whoever reads it learns that something is missing."""
        self._writer.transport.abort()
