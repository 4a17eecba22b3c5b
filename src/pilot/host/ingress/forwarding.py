"""One request to a sprite's port, and its one answer back, whatever either side says before, between or after.

A request that may be asked twice goes on a connection that has been used before, if there is one, and is asked anew on
another when that was closed before a byte of the answer came. Nothing else is ever repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ... import errors
from ...wire import faults
from ..relay import heads
from ..relay.edge import Exchange
from . import asked
from .tunnel import End
from .upstream import SWITCHING_PROTOCOLS, Upstream

# For the beginning of an answer, once the request is through; and for the next piece of a request on its way.
PATIENCE_S = 120.0
_NOT_FOR_THE_CLIENT: frozenset[bytes] = frozenset()
Open = Callable[[], Awaitable[Upstream]]


class Forwarding:
    """`taken`: a connection that has been used, if there is one; `open` makes a new one; `give` takes one back."""

    def __init__(self, exchange: Exchange, head: bytes, give: Callable[[Upstream], None]) -> None:
        self._exchange = exchange
        self._head = head
        self._give = give
        self._sending: asyncio.Task[None] | None = None

    async def run(self, used: Upstream | None, open: Open) -> None:
        """Answers, or raises: `PeerError` when the sprite gave no answer, `DeadlineExceeded` when none in time."""
        if used is not None and await self._answer_by_used(used):
            return
        await self._answer_by(await open())

    async def _answer_by_used(self, upstream: Upstream) -> bool:
        """False when nothing of an answer came, so that the same may be asked of another."""
        try:
            await self._answer_by(upstream)
        except errors.PeerError:
            if upstream.has_begun:
                raise
            return False
        return True

    async def _answer_by(self, upstream: Upstream) -> None:
        """What goes wrong ends the connection."""
        try:
            await self._ask(upstream)
            await self._pass_on(upstream)
        except BaseException:
            await self._end_sending()
            upstream.close()
            raise

    async def _ask(self, upstream: Upstream) -> None:
        """Until the head of the answer is there."""
        head = self._exchange.head
        upstream.ask(self._head, head.method, upgrade=head.wants_upgrade)
        if head.has_body:
            await self._send_body_until_answered(upstream)
        await upstream.answered(PATIENCE_S)

    async def _pass_on(self, upstream: Upstream) -> None:
        if upstream.status == SWITCHING_PROTOCOLS:
            await self._tunnel(upstream)
            return
        answer = self._exchange.answer
        answer.begin(upstream.status, heads.passed_on(upstream.headers, _NOT_FOR_THE_CLIENT))
        answer.write(upstream.taken())
        while not upstream.is_complete:
            answer.flush()
            await answer.drain()
            await upstream.more()
            answer.write(upstream.taken())
        answer.end(upstream.trailers)
        is_through = self._sending is None or _has_succeeded(self._sending)
        if self._sending is not None:
            await self._end_sending()
        if upstream.is_reusable and is_through:
            self._give(upstream)
        else:
            upstream.close()

    async def _tunnel(self, upstream: Upstream) -> None:
        kept = heads.passed_on(upstream.headers, _NOT_FOR_THE_CLIENT)
        ours = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        client, sprite = End(), End()
        transport = self._exchange.take_over(client)
        try:
            transport.write(heads.render(heads.status_line(SWITCHING_PROTOCOLS), [*ours, *kept]))
            sprite.join(client)
            upstream.hand_over(sprite)
            client.join(sprite)
            await asyncio.wait({client.lost, sprite.lost})
        finally:
            client.close()
            sprite.close()

    # The request's body

    async def _send_body_until_answered(self, upstream: Upstream) -> None:
        """Returns when the body is through or the answer begins. What the client did wrong is raised."""
        self._exchange.go_on()
        self._sending = asyncio.create_task(self._send_body(upstream), name="ingress-request-body")
        answered = asyncio.create_task(upstream.answered(), name="ingress-answer")
        try:
            await asyncio.wait({self._sending, answered}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()
            await asyncio.gather(answered, return_exceptions=True)  # asked for again, by who has a deadline
        if self._sending.done():
            self._sending.result()

    async def _send_body(self, upstream: Upstream) -> None:
        body, is_chunked = self._exchange.body, self._exchange.head.is_chunked
        while (piece := await self._piece()) is not None:
            upstream.write(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
            await upstream.drain()
        if is_chunked:
            trailers = asked.trailers(tuple(body.trailers))
            upstream.write(b"0\r\n%s\r\n" % b"".join(b"%s: %s\r\n" % pair for pair in trailers))

    async def _piece(self) -> bytes | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._exchange.body.piece()
        except TimeoutError as error:
            raise faults.TooSlow(f"the client sent nothing for {PATIENCE_S:.0f} s") from error

    async def _end_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)


def _has_succeeded(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
