"""At which port a sprite serves the web, and the service that is started for it: as its machine says, for a moment.

A sprite is asked only while it is awake.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import h11
import msgspec

from ... import errors
from ...machine import exchange
from ...wire import operations
from ...wire.services import Service
from ..store.sprites import Sprite
from .addresses import DEFAULT_PORT
from .sprites import Sprites

log = logging.getLogger(__name__)

# A change of services is in force after so long.
BELIEVED_S = 1.0
MAX_KNOWN = 4096
_ASK_S = 10.0
_STILL = frozenset({"stopped", "failed"})


class Fronts:
    """For one event loop; machines are asked in threads."""

    def __init__(self, sprites: Sprites, clock: Callable[[], float] = time.monotonic) -> None:
        self._sprites = sprites
        self._clock = clock
        self._known: dict[str, tuple[int, float]] = {}

    async def port(self, sprite: Sprite) -> int:
        """That of its http service; 8080 where it has none, or its machine does not say."""
        known = self._known.get(sprite.id)
        if known is not None and self._clock() < known[1]:
            return known[0]
        try:
            found = (await asyncio.to_thread(self._sprites.machine_status, sprite)).http_port or DEFAULT_PORT
        except errors.PilotError as error:
            # Whoever connects finds out what is wrong, and has the means to mend it.
            log.info("sprite does not say its port", extra={"sprite": sprite.name, "error": str(error)})
            return DEFAULT_PORT
        self._known.pop(sprite.id, None)
        while len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[sprite.id] = found, self._clock() + BELIEVED_S
        return found

    async def start(self, sprite: Sprite, port: int) -> bool:
        """Start the service of that port, when it has one that stands still. Whether it is starting now."""
        try:
            return await asyncio.to_thread(self._start, sprite, port)
        except (errors.PilotError, msgspec.MsgspecError, h11.ProtocolError, OSError) as error:
            log.warning("service not started", extra={"sprite": sprite.name, "port": port, "error": str(error)})
            return False

    def _start(self, sprite: Sprite, port: int) -> bool:
        path = self._sprites.dial_path(sprite)
        listed = _ask(path, operations.LIST_SERVICES.method, operations.LIST_SERVICES.target({}))
        services = msgspec.json.decode(listed.body, type=list[Service])
        found = next((each for each in services if each.http_port == port), None)
        if found is None or found.state.status not in _STILL:
            return found is not None
        target = operations.START_SERVICE.target({"service": found.name}, [("duration", "0s")])
        return _ask(path, operations.START_SERVICE.method, target).status == 200


def _ask(path: str, method: str, target: str) -> exchange.Answer:
    return exchange.exchange(path, _ASK_S, exchange.request_head(method, target, 0), b"")
