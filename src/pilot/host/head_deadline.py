"""uvicorn's HTTP protocol with an end to its patience: a client that does not send a request's head is let go.

uvicorn itself waits for ever; a client that opens connections and says nothing would have all of pilotd's descriptors.
Between two requests of a connection uvicorn's own keep-alive deadline counts, until the first byte of the second.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 60.0


class PatientProtocol(H11Protocol):
    """Only the head is timed; a body's time is the concern of who reads it."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._late is None:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # What came with the request before it may be the beginning of the next one.
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._expect_head()

    def _expect_head(self) -> None:
        self._forget()
        self._late = self.loop.call_later(HEAD_S, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
