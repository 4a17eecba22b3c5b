"""Who this sprite is, as its host has it. The host is asked each time: a sprite that was claimed, or has another size,
says what is true now."""

from __future__ import annotations

from ...server.routing import Route, answering
from ...wire import operations, outward
from ..outward import Outward


class SelfApi:
    def __init__(self, host: Outward) -> None:
        self._host = host

    def routes(self) -> list[Route]:
        return [answering(outward.GET_SELF, self.get)]

    async def get(self, _: None) -> outward.Self:
        """`Unavailable` where no pilotd answers."""
        return await self._host.call(outward.GET_SELF, None, operations.QUICK_S / 2)
