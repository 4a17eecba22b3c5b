"""One connection of a machine: request after request, each to the host that the connection is for.

    head ─► checked ─► the secret of this moment ─► attached ─► `exchange` ─► written down

The secret is looked up for each request: one that was changed is used with the next, and one that was taken away with
none. Where anything is in doubt the connection ends, and the machine's program begins another one.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import h11

from .... import errors
from .client import Client
from .connector import Attachment
from .echo import Echoed, Watch
from .exchange import Exchange, Gone
from .head import Refused, checked, forwarded
from .outside import Outside
from .uses import Outcome, Uses

IDLE_S = 60.0


@dataclasses.dataclass(frozen=True)
class Grant:
    """What is attached for a host, at this moment."""

    connector: str
    attach: Attachment
    secret: bytes = dataclasses.field(repr=False)


class Passing:
    """`grant`: what there is for `host` now, or None; `connect`: a connection to it, or `PeerError`."""

    def __init__(
        self,
        client: Client,
        host: str,
        grant: Callable[[], Grant | None],
        connect: Callable[[], Awaitable[Outside]],
        uses: Uses,
    ) -> None:
        self._client = client
        self._host = host
        self._grant = grant
        self._connect = connect
        self._uses = uses
        self._outside: Outside | None = None

    async def run(self) -> None:
        """Until one side has had enough. Everything is closed then."""
        try:
            while await self._next():
                if h11.DONE is not self._client.http.our_state or h11.DONE is not self._client.http.their_state:
                    break
                self._client.http.start_next_cycle()
        except (OSError, Gone):
            pass  # the machine's side has gone, or says nothing any more
        finally:
            self._leave()
            self._client.close()

    def _leave(self) -> None:
        if self._outside is not None:
            self._outside.close()
            self._outside = None

    async def _next(self) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            async with asyncio.timeout(IDLE_S):  # for all of a head, however it comes
                request = await self._client.receive(IDLE_S)
        except h11.RemoteProtocolError as error:
            await self._refuse(None, Refused(error.error_status_hint, "that is no HTTP"))
            return False
        if not isinstance(request, h11.Request):
            return False  # it has ended
        grant = self._grant()
        try:
            if grant is None:
                raise Refused(403, f"there is no connector for {self._host} any more")
            checked(request, self._host)
            sent = forwarded(request, grant.attach, grant.secret)
        except Refused as refused:
            await self._refuse(request, refused, grant)
            return False
        return await self._pass_on(request, sent, grant)

    async def _refuse(self, request: h11.Request | None, refused: Refused, grant: Grant | None = None) -> None:
        told = None if request is None else (request.method, request.target)
        name = grant.connector if grant is not None else ""
        self._uses.add(Outcome.REFUSED, name, self._host, told, status=refused.status, why=str(refused))
        await self._client.say(refused.status, str(refused))

    async def _pass_on(self, request: h11.Request, sent: h11.Request, grant: Grant) -> bool:
        """`sent`: the request with its secret."""

        def note(outcome: Outcome, status: int | None, why: str = "") -> None:
            told = (request.method, request.target)
            self._uses.add(outcome, grant.connector, self._host, told, status=status or 0, why=why)

        watch = Watch(grant.attach.said(grant.secret, sent.headers.raw_items()))
        exchange = Exchange(self._client, sent, watch, lambda status: note(Outcome.ANSWERED, status))
        try:
            return await self._carry_out(exchange)
        except (Gone, asyncio.CancelledError):
            note(Outcome.BROKEN, exchange.status, "cut off")  # the machine has gone, or the connector
            raise
        except Echoed:
            outcome, why = Outcome.ECHOED, "the answer says the secret"
        except errors.PeerError as error:
            outcome, why = Outcome.UNREACHED if exchange.status is None else Outcome.BROKEN, str(error)
        note(outcome, exchange.status, why)
        if exchange.status is None:
            await self._client.say(502, why)
        else:
            self._client.cut()
        return False

    async def _carry_out(self, exchange: Exchange) -> bool:
        """A host may end an idle connection at any time, also when it has just been asked something."""
        outside = await self._reach()
        was_fresh = outside.is_fresh
        try:
            goes_on = await exchange.run(outside)
        except errors.PeerError:
            if was_fresh or not exchange.can_be_repeated:
                raise
            self._leave()
            outside = await self._reach()
            goes_on = await exchange.run(outside)
        if goes_on and outside.http.our_state is h11.DONE and outside.http.their_state is h11.DONE:
            outside.http.start_next_cycle()
        else:
            self._leave()
        return goes_on

    async def _reach(self) -> Outside:
        if self._outside is not None and not self._outside.is_idle:
            self._leave()
        if self._outside is None:
            self._outside = await self._connect()
        return self._outside
