"""From a Host to the sprite that it names. Asked for every request, so it is remembered until anything is written.

What was read before a commit is not believed after it: a sprite that has just ceased to be public is not public once
more, and one that was destroyed is not found.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable

from ..services import addresses
from ..services.addresses import Domain
from ..services.sprites import Sprites
from ..store.sprites import Sprite

MAX_KNOWN = 4096
# Beside commits of our own: somebody else may write the same store.
BELIEVED_S = 5.0


@dataclasses.dataclass(frozen=True)
class Site:
    """A sprite under one of its names. `port` None: whatever it serves the web with."""

    sprite: Sprite
    port: int | None
    host: str

    @property
    def is_public(self) -> bool:
        return self.sprite.url_settings.auth == "public"


class Sites:
    """For one event loop; the store is asked in threads."""

    def __init__(self, sprites: Sprites, domain: Domain, clock: Callable[[], float] = time.monotonic) -> None:
        self._sprites = sprites
        self.domain = domain
        self._clock = clock
        self._known: dict[str, tuple[Site, int, float]] = {}

    def known(self, host: str) -> Site | None:
        """What `find` would say, where that is known without asking."""
        found = self._known.get(host)
        if found is None or found[1] != self._sprites.writes or self._clock() > found[2]:
            return None
        return found[0]

    async def find(self, host: str) -> Site | None:
        """None when no sprite, or one that is being destroyed, has that name."""
        if (site := self.known(host)) is not None:
            return site
        writes = self._sprites.writes  # before the store is read
        site = await asyncio.to_thread(self._look_up, host)
        self._known.pop(host, None)
        if site is not None:
            while len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[host] = (site, writes, self._clock() + BELIEVED_S)
        return site

    def _look_up(self, host: str) -> Site | None:
        label = self.domain.label(host)
        for address in addresses.readings(label) if label else ():
            sprite = self._sprites.at_address(address.name, address.suffix)
            if sprite is not None and sprite.phase == "live":
                return Site(sprite, address.port, host)
        return None
