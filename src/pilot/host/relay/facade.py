"""A facade over a table: authenticate, permit, then pilotd's own answer or the machine's.

What a facade brings of its own is its table, its way of telling errors, and headers that its clients read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from ... import errors
from ...machine.dial import Stream
from ...wire import faults, operations
from ...wire.operations import AnyOperation, Operation
from .. import tracing
from ..identity.principal import Principal
from ..store.sprites import Sprite
from . import early, heads, paths, worlds
from .access import Access
from .auditing import Entry
from .calls import PATIENCE_S, MachineCall
from .crowd import Kind
from .early import Handshake
from .edge import Exchange, retry_after
from .machine_answer import SWITCHING_PROTOCOLS
from .pipe import Pipe
from .table import Match, Reach, Row, Table

log = logging.getLogger(__name__)

WORLD_NOT_RUNNING = faults.fault_of(faults.WorldNotRunning("")).code
UPGRADE_S = 60.0
GRACE_S = 5.0
# What begins one, as `pilotd_exec_seconds` counts them.
_COMMANDS = (operations.EXECUTE, operations.OPEN_SESSION)
Own = TypeVar("Own")


class Voice(Protocol):
    """How a facade speaks to its clients."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]: ...

    def fault(self, error: BaseException) -> faults.Fault:
        """Its status and code, as these clients know them."""
        ...

    def refusal(self, error: BaseException, fault: faults.Fault) -> bytes:
        """The JSON that tells of it."""


# Answers a row of pilotd's own. The principal is None where the row wants none.
Answering = Callable[[Exchange, Own, Mapping[str, str], Principal | None], Awaitable[None]]


class TableFacade(Generic[Own]):
    """`serve` is the facade."""

    def __init__(self, rows: Sequence[Row[Own]], access: Access, voice: Voice, answer_own: Answering[Own]) -> None:
        self._table = Table(rows)
        self._access = access
        self._voice = voice
        self._answer_own = answer_own

    async def serve(self, exchange: Exchange) -> None:
        """Answers in any case; an error after the answer has begun leaves it without its end."""
        tracing.new_request()
        try:
            await self._serve(exchange)
        except errors.PilotError as error:
            if exchange.answer.has_begun:
                log.warning("answer broke off", extra={"path": _shown(exchange), "error": str(error)})
            else:
                self._refuse(exchange, error)
        except Exception as error:
            log.exception("request failed", extra={"path": _shown(exchange)})
            if not exchange.answer.has_begun:
                self._refuse(exchange, error)

    async def _serve(self, exchange: Exchange) -> None:
        head = exchange.head
        match = self._table.find(head.method, paths.split(head.path), websocket=head.wants_upgrade)
        entry = self._access.auditing.begin(exchange, match) if self._access.auditing else Entry()
        with self._access.tracing.request(match.row.method, match.row.path, _traceparent(exchange)) as answered:
            try:
                await self._serve_found(exchange, match, entry)
            except BaseException as error:
                if not exchange.answer.has_begun:
                    status = self._voice.fault(error).status
                    entry.refused(error, status)
                    answered(status)
                raise
            entry.answered(exchange.answer.status)
            answered(exchange.answer.status)

    async def _serve_found(self, exchange: Exchange, match: Match[Own], entry: Entry) -> None:
        principal = await self._permitted(exchange, match.row, entry)
        if principal is None:
            assert not isinstance(match.row.call, Operation)
            await self._answer_own(exchange, match.row.call, match.parameters, None)
            return
        exchange.hold(Kind.RELAYED if isinstance(match.row.call, Operation) else Kind.OWN)
        with self._access.authenticator.holding(principal, exchange.cut):
            await self._serve_permitted(exchange, match, principal, entry)

    async def _serve_permitted(self, exchange: Exchange, match: Match[Own], principal: Principal, entry: Entry) -> None:
        if not isinstance(match.row.call, Operation):
            if match.row.reach is Reach.NAMED:
                await self._access.require_named(principal, match.parameters)
            await entry.allow()
            await self._answer_own(exchange, match.row.call, match.parameters, principal)
            return
        sprite = await self._access.found(principal, match.parameters["name"])
        entry.found(sprite)
        principal.require_sprite(sprite.id)
        self._access.check_room(sprite)
        await entry.allow()
        with self._access.activity.using(sprite.id, exchange.cut):
            if match.row.websocket:
                await self._upgrade(exchange, sprite, match)
            else:
                await self._call(exchange, sprite, match)

    async def _permitted(self, exchange: Exchange, row: Row[Own], entry: Entry) -> Principal | None:
        """`Unauthenticated`, `PermissionDenied`."""
        if row.permission is None or (row.loopback and is_loopback(exchange.peer)):
            return None
        principal = await self._access.principal(exchange.head.first(b"authorization"))
        await entry.known(principal)
        principal = principal.asking(row.permission, row.feature)
        if row.reach is Reach.ORGANISATION:
            principal.require_whole()
        return principal

    async def _call(self, exchange: Exchange, sprite: Sprite, match: Match[Own]) -> None:
        operation = match.row.call
        assert isinstance(operation, Operation)
        call, stream = await self._ask(exchange, sprite, match, _patience_s(operation))
        try:
            await call.pass_on(self._voice.headers, are_frames=operation is operations.EXECUTE)
        finally:
            await call.end()
            stream.close()

    async def _upgrade(self, exchange: Exchange, sprite: Sprite, match: Match[Own]) -> None:
        operation = match.row.call
        assert isinstance(operation, Operation)
        with Handshake(exchange, operation, self._voice.headers) as handshake:
            try:
                call, stream = await self._ask_in_time(exchange, sprite, match)
            except errors.PilotError as error:
                if (pipe := handshake.done()) is None:
                    raise
                log.info("refused after its handshake", extra={"path": _shown(exchange), "error": str(error)})
                fault = self._voice.fault(error)
                pipe.close(early.refusal(fault.status, self._voice.refusal(error, fault)))
                return
            pipe = handshake.done()
        try:
            await call.end()
            if call.answer.status == SWITCHING_PROTOCOLS:
                await (pipe or self._accepted(exchange, call)).run(stream)
            elif pipe is None:
                await call.pass_refusal_on(self._voice.headers)
            else:
                pipe.close(early.refusal(call.answer.status, await call.refusal()))
        finally:
            stream.close()

    def _accepted(self, exchange: Exchange, call: MachineCall) -> Pipe:
        """The machine's 101, passed on."""
        kept = heads.passed_on(call.answer.headers, heads.NOT_FOR_THE_CLIENT)
        pipe = Pipe()
        exchange.take_over(pipe).write(early.accepted((*self._voice.headers, *kept)))
        return pipe

    async def _ask_in_time(self, exchange: Exchange, sprite: Sprite, match: Match[Own]) -> tuple[MachineCall, Stream]:
        try:
            async with asyncio.timeout(UPGRADE_S):
                return await self._ask(exchange, sprite, match, UPGRADE_S)
        except TimeoutError as error:
            raise faults.Unavailable("the sprite did not wake in time") from error

    async def _ask(
        self, exchange: Exchange, sprite: Sprite, match: Match[Own], timeout_s: float
    ) -> tuple[MachineCall, Stream]:
        """The call, its answer's head read."""
        began_s = time.monotonic()
        call, stream = await self._ask_until_awake(exchange, sprite, match, timeout_s)
        if match.row.call in _COMMANDS:
            self._access.sprites.metrics.exec_answered(time.monotonic() - began_s)
        return call, stream

    async def _ask_until_awake(
        self, exchange: Exchange, sprite: Sprite, match: Match[Own], timeout_s: float
    ) -> tuple[MachineCall, Stream]:
        """Once more when the agent says that nothing was done, as no world runs."""
        call, stream = await self._ask_once(exchange, sprite, match, timeout_s)
        if call.fault != WORLD_NOT_RUNNING:
            return call, stream
        self._access.sprites.mark_lost(sprite)
        if not call.is_repeatable:
            return call, stream  # the next call wakes it
        await call.end()
        stream.close()
        call, stream = await self._ask_once(exchange, sprite, match, timeout_s)
        if call.fault == WORLD_NOT_RUNNING:
            self._access.sprites.mark_lost(sprite)
        return call, stream

    async def _ask_once(
        self, exchange: Exchange, sprite: Sprite, match: Match[Own], timeout_s: float
    ) -> tuple[MachineCall, Stream]:
        operation = match.row.call
        assert isinstance(operation, Operation)
        idle_s = self._access.timing.of(sprite).terminal_idle_s
        query = worlds.query_for(operation, exchange.head.query.decode("latin-1"), idle_s)
        target = operation.target(match.parameters) + (f"?{query}" if query else "")
        stream = await self._access.open(sprite)
        call = MachineCall(exchange, stream, target)
        try:
            await call.begin(timeout_s)
        except BaseException:
            await call.end()
            stream.close()
            raise
        return call, stream

    def _refuse(self, exchange: Exchange, error: BaseException) -> None:
        fault = self._voice.fault(error)
        headers = [(b"content-type", b"application/json"), *self._voice.headers, *retry_after(error)]
        headers.append((b"x-request-id", (tracing.REQUEST.get() or "").encode()))
        if isinstance(error, faults.MethodNotAllowed):
            headers.append((b"allow", ", ".join(error.allowed).encode()))  # RFC 9110, 15.5.6
        if isinstance(error, faults.Unauthenticated):
            headers.append((b"www-authenticate", b"Bearer"))
        exchange.answer.whole(fault.status, headers, self._voice.refusal(error, fault))


def _traceparent(exchange: Exchange) -> str | None:
    found = exchange.head.first(b"traceparent")
    return None if found is None else found.decode("latin-1")


def _patience_s(operation: AnyOperation) -> float:
    """For the beginning of its answer once the request is through: beyond the agent's own deadline, if it has one."""
    return PATIENCE_S if operation.deadline_s is None else operation.deadline_s + GRACE_S


def is_loopback(peer: str) -> bool:
    """Whether that address is of this host's own processes."""
    return peer == "::1" or peer.removeprefix("::ffff:").startswith("127.")


def _shown(exchange: Exchange) -> str:
    return exchange.head.path[:200].decode("latin-1")
