"""What becomes of a request, told to the log of what it is asked of.

    begin ─► known ─► allow ─┬─► (the answer)             one record: it was allowed, before anything is done
                              └─► failed ─► refused        another: what came of it, when that is an error
           └─ refused                                      one: it was denied, and why

Each is of a row that is written down (`Row.audited`); of others nothing is told.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from types import NoneType
from typing import Generic, TypeVar

from ... import errors
from ...wire import faults
from ...wire.audit import Kind
from ...wire.operations import Operation
from ..audit import asked, subjects
from ..audit.records import Decision, Record, Who
from ..audit.subjects import Subjects
from ..audit.writer import Writer
from ..identity.principal import Principal
from ..store.sprites import Sprite
from .edge import Exchange
from .table import Match

# For a body that is looked at: as long as whoever reads it would wait (api/sprites/bodies.py).
PATIENCE_S = 30.0
Own = TypeVar("Own")
_REFUSALS = (faults.Unauthenticated, faults.PermissionDenied)


@dataclasses.dataclass(frozen=True)
class Auditing:
    """Where it is told, and whose log it is."""

    writer: Writer
    subjects: Subjects

    def begin(self, exchange: Exchange, match: Match[Own]) -> Entry:
        """Of a request that has found its row."""
        kind = match.row.audited
        return Entry() if kind is None else Audited(self, exchange, match, kind)


class Entry:
    """Of a row that is not written down: all of it does nothing."""

    async def known(self, principal: Principal) -> None:
        """Who asks; whether they may is yet to be seen."""

    def found(self, sprite: Sprite) -> None:
        """The one that the path names."""

    async def allow(self) -> None:
        """It may be done, and will be. `TooSlow`: what it is does not come."""

    def refused(self, error: BaseException, status: int) -> None:
        """It was not done, or not all of it."""

    def answered(self, status: int) -> None:
        """What the answer says."""


class Audited(Entry, Generic[Own]):
    def __init__(self, auditing: Auditing, exchange: Exchange, match: Match[Own], kind: Kind) -> None:
        self._auditing = auditing
        self._exchange = exchange
        self._match = match
        self._kind = kind
        self._id = secrets.token_hex(6)
        self._who: Who | None = None
        self._subject = subjects.HOST
        self._is_allowed = False

    async def known(self, principal: Principal) -> None:
        organisation = principal.organisation
        self._who = Who(organisation.slug, principal.key or "", bool(principal.caveats))
        self._subject = subjects.of_organisation(organisation.id)
        if self._match.parameters and not self._will_be_found(principal):
            named = self._auditing.subjects.named
            self._subject = await asyncio.to_thread(named, organisation.id, self._match.parameters)

    def _will_be_found(self, principal: Principal) -> bool:
        """The sprite, on the way to its machine: then the store is not asked twice."""
        row = self._match.row
        return isinstance(row.call, Operation) and row.permission is not None and principal.may(row.permission)

    def found(self, sprite: Sprite) -> None:
        self._subject = subjects.of_sprite(sprite.id)

    async def allow(self) -> None:
        body = await self._body() if self._has_document() else b""
        self._is_allowed = True
        self._tell(Decision.ALLOWED, body)

    def refused(self, error: BaseException, status: int) -> None:
        is_denied = not self._is_allowed or isinstance(error, _REFUSALS)
        why = str(error) if isinstance(error, errors.PilotError) else "the request ended before its answer"
        if not isinstance(error, errors.PilotError | asyncio.CancelledError):
            why = "internal error"
        self._tell(Decision.DENIED if is_denied else Decision.FAILED, why=why, status=status)

    def answered(self, status: int) -> None:
        if status >= 400:
            self._tell(Decision.FAILED, status=status)

    def _has_document(self) -> bool:
        """Whether its body is JSON; what is written to a file, or to a command, is not looked at."""
        call = self._match.row.call
        return self._exchange.head.has_body and not (isinstance(call, Operation) and call.asked in (bytes, NoneType))

    async def _body(self) -> bytes:
        self._exchange.go_on()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._exchange.body.peek(asked.MOST_BODY_BYTES)
        except TimeoutError as error:
            raise faults.TooSlow(f"body: it did not come within {PATIENCE_S:.0f} s") from error

    def _tell(self, decision: Decision, body: bytes = b"", why: str = "", status: int = 0) -> None:
        record = Record(
            self._kind,
            self._match.row.id,
            decision,
            time.time_ns() // 1000,
            self._who,
            self._exchange.peer,
            self._id,
            asked.detail(self._kind, self._match.parameters, self._exchange.head.query, body),
            why,
            status,
        )
        self._auditing.writer.tell(self._subject, record, is_rated=decision is not Decision.ALLOWED)
