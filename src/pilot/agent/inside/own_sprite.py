"""What a sprite asks of its host about itself: checkpoints of its disk, and children, where it may make some.

The host answers with one document; what people and tools of Sprites read of a checkpoint is lines (`info`, `complete`,
`error`), which are made here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from ... import errors
from ...server import response
from ...server.call import Call
from ...server.routing import Route, answering
from ...wire import operations, outward, timestamps
from ..outward import Outward

_QUICK_S = operations.QUICK_S / 2


class OwnSpriteApi:
    """`Unavailable` where no pilotd answers, in all of them."""

    def __init__(self, host: Outward) -> None:
        self._host = host

    def routes(self) -> list[Route]:
        return [
            answering(outward.SPAWN, self.spawn),
            answering(outward.LIST_CHILDREN, self.children),
            Route(outward.DESTROY_CHILD, self.destroy),
            Route(outward.LIST_OWN_CHECKPOINTS, self.checkpoints),
            Route(outward.CREATE_OWN_CHECKPOINT, self.create_checkpoint),
        ]

    async def spawn(self, asked: outward.NewChild) -> outward.Child:
        return await self._host.call(outward.SPAWN, asked, outward.SPAWN_S)

    async def children(self, _: None) -> outward.Children:
        return await self._host.call(outward.LIST_CHILDREN, None, _QUICK_S)

    async def destroy(self, call: Call) -> response.Response:
        await self._host.call(outward.DESTROY_CHILD, None, outward.SPAWN_S, **call.parameters)
        return response.Response(outward.DESTROY_CHILD.status)

    async def checkpoints(self, _: Call) -> response.Response:
        """The bare array, as clients of Sprites read it."""
        found = await self._host.call(outward.LIST_OWN_CHECKPOINTS, None, _QUICK_S)
        return response.json(found.checkpoints)

    async def create_checkpoint(self, call: Call) -> response.Response:
        asked = await call.asked(outward.CREATE_OWN_CHECKPOINT)
        return response.ndjson(self._creating(asked))

    async def _creating(self, asked: outward.NewCheckpoint) -> AsyncIterator[dict[str, str]]:
        yield {"type": "info", "data": "creating checkpoint", "time": timestamps.now()}
        try:
            made = await self._host.call(outward.CREATE_OWN_CHECKPOINT, asked, outward.SPAWN_S)
        except errors.PilotError as error:
            yield {"type": "error", "error": str(error), "time": timestamps.now()}
        else:
            yield {"type": "complete", "data": f"checkpoint {made.id} created", "time": timestamps.now()}
