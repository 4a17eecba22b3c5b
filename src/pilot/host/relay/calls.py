"""One request to a machine and its one answer back, whatever either side says before, between or after.

    client ─ Exchange ──► head, then the body as it comes ──► machine
           ◄── head, then each piece at once ── MachineAnswer ◄──

The connection to the machine carries this one request and is closed: nothing that a client or a machine says behind it
is ever read as another. Nothing is retried here: the caller asks anew only if no byte was answered and none taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from ... import errors
from ...machine.dial import Stream
from ...wire import faults
from . import heads
from .apart import apart
from .edge import Exchange
from .machine_answer import SWITCHING_PROTOCOLS, MachineAnswer

# For the next piece of a request on its way; facades also use it for answers of operations without a deadline.
PATIENCE_S = 120.0
MAX_REFUSAL_BYTES = 1 << 20
FAULT = faults.HEADER.lower().encode()
OwnHeaders = Iterable[tuple[bytes, bytes]]


class MachineCall:
    """`stream` stays the caller's, who closes it when this is done or cancelled."""

    def __init__(self, exchange: Exchange, stream: Stream, target: str) -> None:
        self.answer = MachineAnswer(stream, exchange.head.method)
        self._exchange = exchange
        self._stream = stream
        self._target = target
        self._sending: asyncio.Task[None] | None = None

    @property
    def fault(self) -> str | None:
        """The code of the agent's refusal."""
        code = self.answer.first(FAULT)
        return None if code is None else code.decode("latin-1")

    @property
    def is_repeatable(self) -> bool:
        """Whether the same can be asked once more: no byte of a body was taken."""
        return not self._exchange.head.has_body

    async def begin(self, timeout_s: float) -> None:
        """Ask, and read the answer's head. `timeout_s` begins when the request is through: uploads take their time."""
        head = heads.for_machine(self._exchange.head, self._target, self._exchange.peer)
        with contextlib.suppress(OSError):  # it takes no more; its answer, which may be there already, says why
            await self._stream.send(head)
        receiving = asyncio.create_task(self.answer.read_head(), name="relay-answer-head")
        try:
            if self._exchange.head.has_body:
                await self._send_body_until(receiving)
            else:
                self._exchange.when_ended(self._stream.end)
            async with asyncio.timeout(timeout_s):
                await receiving
        except TimeoutError as error:
            raise errors.PeerError("relay: the machine did not answer in time") from error
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    async def pass_on(self, own: OwnHeaders, *, are_frames: bool = False) -> None:
        """The answer to the client, `are_frames`: one frame after the other (`apart`). `PeerError` when the machine
        breaks off; then it is left without its end."""
        if self.answer.status == SWITCHING_PROTOCOLS:
            raise errors.PeerError("relay: the machine switched to a protocol that nobody asked for")
        answer = self._exchange.answer
        answer.begin(self.answer.status, self._headers(own))
        pieces = self.answer.pieces()
        async for piece in apart(pieces) if are_frames else pieces:
            if piece is None:
                answer.flush()
            else:
                answer.write(piece)
                await answer.drain()
        answer.end(self.answer.trailers)

    async def pass_refusal_on(self, own: OwnHeaders) -> None:
        """The answer to an upgrade that is none: small, and whole before any of it is told."""
        body = await self.refusal()
        told = [pair for pair in self._headers(own) if pair[0] != b"content-length"]
        self._exchange.answer.whole(self.answer.status, told, body)

    async def refusal(self) -> bytes:
        """The body of an answer that is none."""
        body = bytearray()
        async for piece in self.answer.pieces():
            body += piece or b""
            if len(body) > MAX_REFUSAL_BYTES:
                raise errors.PeerError(f"upgrade: the machine's refusal is longer than {MAX_REFUSAL_BYTES} bytes")
        return bytes(body)

    async def end(self) -> None:
        """No more of the request is wanted."""
        self._exchange.when_ended(None)
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def _headers(self, own: OwnHeaders) -> list[tuple[bytes, bytes]]:
        return [*heads.passed_on(self.answer.headers, heads.NOT_FOR_THE_CLIENT), *own]

    async def _send_body_until(self, answered: asyncio.Task[None]) -> None:
        """Returns when the body is through or `answered` is done. What the client did wrong is raised."""
        self._exchange.go_on()
        self._sending = asyncio.create_task(self._send_body(), name="relay-request-body")
        await asyncio.wait({self._sending, answered}, return_when=asyncio.FIRST_COMPLETED)
        if self._sending.done():
            self._sending.result()

    async def _send_body(self) -> None:
        body, is_chunked = self._exchange.body, self._exchange.head.is_chunked
        try:
            while (piece := await self._piece()) is not None:
                await self._stream.send(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
            if is_chunked:
                trailers = heads.passed_on(tuple(body.trailers), heads.NOT_FOR_THE_MACHINE)
                await self._stream.send(b"0\r\n%s\r\n" % b"".join(b"%s: %s\r\n" % pair for pair in trailers))
        except OSError:
            return  # as in `begin`
        self._exchange.when_ended(self._stream.end)

    async def _piece(self) -> bytes | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._exchange.body.piece()
        except TimeoutError as error:
            raise faults.TooSlow(f"the client sent nothing for {PATIENCE_S:.0f} s") from error
