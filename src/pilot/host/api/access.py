"""Who asks, which sprite is meant, and the way to its machine; the same for JSON calls, relayed calls and upgrades.

Authorization → organisation → sprite → ready? → dial ──────────────────────────► stream
                                  │ no, or nobody answers: wake, once ─► dial ──►
"""

from __future__ import annotations

import asyncio
import dataclasses

from ... import errors
from ...wire import dial as lines
from ...wire import faults
from ..machine import dial
from ..services import ending
from ..services.idle import Activity
from ..services.sprites import Sprites
from ..store import tokens
from ..store.database import Database
from ..store.sprites import Sprite
from ..store.tokens import Organisation

WAKE_TIMEOUT_S = 60.0


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
            raise faults.Unauthenticated("authentication failed")
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
        await ending.finish(await asyncio.to_thread(self.sprites.wake, sprite), WAKE_TIMEOUT_S)
        try:
            return await self._dial(sprite)
        except errors.PeerError as error:
            raise faults.Unavailable(f"sprite {sprite.name}: its machine does not answer: {error}") from error

    async def _dial(self, sprite: Sprite) -> dial.Stream:
        return await dial.open_stream(self.sprites.dial_path(sprite), lines.PORT_API)
