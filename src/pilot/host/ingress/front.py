"""Which port a sprite's address leads to, and what starts what listens there: the seam to a sprite's services."""

from __future__ import annotations

from typing import Protocol

from ..store.sprites import Sprite


class Front(Protocol):
    """Of all sprites."""

    async def port(self, sprite: Sprite) -> int:
        """Where it serves the web. Asked with each request, while it is awake."""
        ...

    async def start(self, sprite: Sprite, port: int) -> bool:
        """It is awake, and nothing listens there: start what would. Whether something is starting now."""
        ...
