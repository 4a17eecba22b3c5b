"""What keeps a sprite awake because somebody said so."""

from __future__ import annotations

from ... import errors
from ..store import holds
from ..store.database import Database
from ..store.holds import Hold
from ..store.journal import now_us
from ..store.sprites import Sprite

MOST_HOLDS = 64  # of a sprite


class Holding:
    def __init__(self, database: Database) -> None:
        self._database = database

    def every(self, sprite: Sprite) -> list[Hold]:
        """Those that have not ended."""
        return holds.active(self._database, sprite.id, now_us())

    def hold(self, sprite: Sprite, name: str, expires_us: int | None) -> Hold:
        """It stays awake for as long as this lasts. One of that name that there is ends then. `Conflict`: too many."""
        wanted = Hold(sprite.id, name, now_us(), expires_us)
        with self._database.transaction() as tx:
            others = {hold.name for hold in holds.active(tx, sprite.id, wanted.since_us)} - {name}
            if len(others) >= MOST_HOLDS:
                raise errors.Conflict(f"hold {name}: sprite {sprite.name} has {len(others)}", hint="let go of one")
            holds.put(tx, wanted)
        return next((hold for hold in self.every(sprite) if hold.name == name), wanted)

    def release(self, sprite: Sprite, name: str) -> None:
        """`NotFound` when it has no such hold."""
        with self._database.transaction() as tx:
            if not holds.release(tx, sprite.id, name):
                raise errors.NotFound(f"hold not found: {name}")
