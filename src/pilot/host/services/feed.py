"""What happens to an organisation's sprites, told in order to whoever follows; nothing is kept for anybody.

    store.events ── told of commits ──► `Feed.after(seq)`: every event since, then each as it is written

A follower remembers the number of the last event that it has seen and says it when it comes again. What has been
forgotten meanwhile (`retention`) is told as a gap, never left out in silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

from ..store import events
from ..store.database import Database
from ..store.events import Event

HEARTBEAT_S = 15.0


@dataclasses.dataclass(frozen=True)
class Gap:
    """Events from `first` to `last` are not kept any more, or were another organisation's."""

    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class Beat:
    """Nothing happened for a while; `seq`: up to which number all has been told."""

    seq: int


class Feed:
    """Of one organisation, perhaps of one sprite's name alone; of those that who follows `reaches`, by their ids."""

    def __init__(
        self,
        database: Database,
        organisation: str,
        sprite: str | None = None,
        reaches: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._database = database
        self._organisation = organisation
        self._sprite = sprite
        self._reaches = reaches

    async def after(self, seq: int | None) -> AsyncIterator[Event | Gap | Beat]:
        """All after the one with that number; None: what happens from now on. For as long as somebody reads."""
        told = asyncio.Event()
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody follows any more
                loop.call_soon_threadsafe(told.set)

        stop = self._database.watch(tell)
        try:
            if seq is None:
                seq = await asyncio.to_thread(events.latest, self._database)
            elif gap := await asyncio.to_thread(self._gap, seq):
                yield gap
                seq = gap.last
            while True:
                told.clear()
                while found := await asyncio.to_thread(events.since, self._database, seq):
                    seq = found[-1].seq
                    for event in found:
                        if self._is_wanted(event):
                            yield event
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await told.wait()
                except TimeoutError:
                    yield Beat(seq)
        finally:
            stop()

    def _gap(self, seq: int) -> Gap | None:
        oldest, latest = events.oldest(self._database), events.latest(self._database)
        first = seq + 1
        last = min(oldest or latest + 1, latest + 1) - 1
        return Gap(first, last) if first <= last else None

    def _is_wanted(self, event: Event) -> bool:
        ours = event.organisation == self._organisation
        is_meant = self._sprite is None or event.sprite == self._sprite
        return ours and is_meant and self._reaches(event.subject.partition("/")[2])
