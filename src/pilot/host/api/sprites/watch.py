"""The NDJSON watch of an organisation's sprites: as they are, then what changes, with heartbeats between.

{"name", "status", "last_running_at", "last_warming_at", "running_version", "timestamp", "org"}     it is so now
{"type": "deleted", "name", "timestamp", "org"}                                                     it is no more
{"type": "heartbeat", "timestamp", "org"}                                                           we are here
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable

from ....wire import timestamps
from ...services.sprites import Sprites
from ...store.sprites import Sprite
from . import shapes

HEARTBEAT_S = 15.0

Entry = shapes.SpriteShape
Document = dict[str, object]


@dataclasses.dataclass
class Watch:
    """Of the sprites of one organisation whose names begin with `prefix`, and that who asks `reaches`, by their ids.

    `describe` may block.
    """

    sprites: Sprites
    organisation: str
    slug: str
    prefix: str
    describe: Callable[[Sprite], Entry]
    reaches: Callable[[str], bool] = lambda _: True
    _shown: dict[str, Entry] = dataclasses.field(default_factory=dict)

    async def lines(self) -> AsyncIterator[bytes]:
        """For as long as somebody reads them."""
        async with self.sprites.changes.following() as follower:
            # What changes meanwhile is told by the follower, at the price of a line that says nothing new.
            for row in await asyncio.to_thread(self.sprites.every, self.organisation):
                if line := await self._changed(row.id):
                    yield line
            yield self._line({"type": "heartbeat"})
            beat_s = time.monotonic() + HEARTBEAT_S
            while True:
                for id in await follower.changed(max(beat_s - time.monotonic(), 0)):
                    if line := await self._changed(id):
                        beat_s = time.monotonic() + HEARTBEAT_S
                        yield line
                if time.monotonic() >= beat_s:
                    beat_s = time.monotonic() + HEARTBEAT_S
                    yield self._line({"type": "heartbeat"})

    async def _changed(self, id: str) -> bytes | None:
        """The line that tells of it; None when there is nothing new to tell."""
        now = await asyncio.to_thread(self._entry, id)
        before = self._shown.pop(id, None)
        if now is None:
            return None if before is None else self._line({"type": "deleted", "name": before["name"]})
        self._shown[id] = now
        return None if now == before else self._line(_state(now))

    def _entry(self, id: str) -> Entry | None:
        row = self.sprites.found(id)
        if row is None or row.phase == "destroying" or row.organisation != self.organisation:
            return None
        if not self.reaches(row.id):
            return None
        return self.describe(row) if row.name.startswith(self.prefix) else None

    def _line(self, document: Document) -> bytes:
        statuses = (entry["status"] for entry in self._shown.values())
        org = shapes.counts(self.slug, statuses, self.sprites.running_limit.limit)
        now = timestamps.now()
        return json.dumps(document | {"timestamp": now, "org": org}).encode() + b"\n"


def _state(entry: Entry) -> Document:
    return {
        "name": entry["name"],
        "status": entry["status"],
        "last_running_at": entry["last_running_at"],
        "last_warming_at": entry["last_warming_at"],
        "running_version": entry["version"],
    }
