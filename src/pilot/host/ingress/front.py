"""Which port a sprite's address leads to, and what starts what listens there: the seam to a sprite's services."""

from __future__ import annotations

from typing import Protocol

from ..services.addresses import DEFAULT_PORT
from ..store.sprites import Sprite


class Front(Protocol):
    """Of all sprites."""

    def port(self, sprite: Sprite) -> int:
        """Where it serves the web. Asked with each request: from what is known, at once."""
        ...

    async def start(self, sprite: Sprite, port: int) -> bool:
        """It is awake, and nothing listens there: start what would. Whether something is starting now."""
        ...


class NoServices:
    """A sprite whose services nobody knows: port 8080, and what listens there was started by its user."""

    def port(self, sprite: Sprite) -> int:
        return DEFAULT_PORT

    async def start(self, sprite: Sprite, port: int) -> bool:
        return False
