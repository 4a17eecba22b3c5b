"""Who asks, which sprite is meant, and the way to its machine; the same for JSON calls, relayed calls and upgrades.

Authorization → organisation → sprite → ready? → dial ──────────────────────────► stream
                                  │ no, or nobody answers: wake, once ─► dial ──►
"""

from __future__ import annotations

import asyncio
import dataclasses

from ... import errors
from ...wire import dial as lines
from .. import dial
from ..fsm.engine import Ended
from ..fsm.outcome import Ending, Outcome
from ..idle import Activity
from ..sprites import Sprites
from ..store import tokens
from ..store.database import Database
from ..store.sprites import Sprite
from ..store.tokens import Organisation

WAKE_TIMEOUT_S = 60.0
# What a machine answers, among other reasons, when it has no world.
WORLD_MAY_BE_AWAY = frozenset({409, 412, 503})


class Unauthenticated(errors.PilotError):
    """No valid token came with the request."""


class Unavailable(errors.PilotError):
    """The sprite is there but cannot be used at the moment."""


class Invalid(errors.PilotError):
    """The request says something that cannot be meant."""


class TooLarge(errors.PilotError):
    """The request is longer than any of its kind needs to be."""


class TooSlow(errors.PilotError):
    """The request did not come in time."""


class NoSuchMethod(errors.PilotError):
    """There is something at that path, but not for this method."""


@dataclasses.dataclass(frozen=True)
class Access:
    database: Database
    sprites: Sprites
    activity: Activity = dataclasses.field(default_factory=Activity)

    def organisation(self, authorization: str | None) -> Organisation:
        """Whose token the Authorization header carries."""
        scheme, _, token = (authorization or "").partition(" ")
        found = tokens.authenticate(self.database, token.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Unauthenticated("authentication failed")
        return found

    def sprite(self, organisation: Organisation, name: str) -> Sprite:
        found = self.sprites.find(organisation.id, name)
        if found.phase == "destroying":
            raise errors.NotFound("sprite not found")
        return found

    async def open(self, sprite: Sprite) -> dial.Stream:
        """A stream to the pilot API of a machine whose world runs, woken when it did not."""
        if self.sprites.is_ready(sprite):
            try:
                return await self._dial(sprite)
            except errors.PeerError:
                self.sprites.mark_lost(sprite)
        await finish(await asyncio.to_thread(self.sprites.wake, sprite), WAKE_TIMEOUT_S)
        try:
            return await self._dial(sprite)
        except errors.PeerError as error:
            raise Unavailable(f"sprite {sprite.name}: its machine does not answer: {error}") from error

    async def _dial(self, sprite: Sprite) -> dial.Stream:
        return await dial.open_stream(self.sprites.dial_path(sprite), lines.PORT_API)


async def finish(ended: Ended, timeout_s: float) -> Outcome:
    """Wait for a run. Its failure as the error that the edge answers with; the run goes on when the wait ends."""
    try:
        async with asyncio.timeout(timeout_s):
            # Shielded by wrap_future's own copy: cancelling the wait must not touch the run's future.
            outcome = await asyncio.shield(asyncio.wrap_future(ended))
    except TimeoutError as error:
        raise Unavailable(f"not done within {timeout_s:.0f} s; it goes on") from error
    if outcome.done:
        return outcome
    raise error_of(outcome)


def error_of(outcome: Outcome) -> errors.PilotError:
    """The error of a run that did not end well, by who can fix it."""
    text = outcome.error or outcome.ending.value
    if outcome.ending is Ending.USER_FAULT:
        kinds = {"not_found": errors.NotFound, "conflict": errors.Conflict}
        return kinds.get(outcome.code or "", Invalid)(text)
    return Unavailable(text)


STATUSES: dict[type[errors.PilotError], int] = {
    Unauthenticated: 401,
    errors.NotFound: 404,
    errors.Conflict: 409,
    Invalid: 400,
    TooLarge: 413,
    TooSlow: 408,
    NoSuchMethod: 405,
    Unavailable: 503,
    errors.StateError: 409,
    errors.PeerError: 502,
    errors.HostError: 503,
}


def status_of(error: errors.PilotError) -> int:
    """The HTTP status of an error; a PilotError of no special kind is the request's fault."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 400)
