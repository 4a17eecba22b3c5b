"""What a service does, as lines, for as long as somebody asked to be told: started, output, ends, and `complete`."""

from __future__ import annotations

import asyncio
import codecs
import time
from collections.abc import AsyncIterator, Iterator

from ... import errors
from ...wire.graph import LogPiece
from ...wire.services import ServiceEvent
from ..graph.log import STREAMS, Log, Place
from ..graph.state import Node
from .book import Entry
from .keeper import Keeper

LOGS = "/.sprite/logs/services"  # `agent.log_files`
_OVER = frozenset({"stopped", "exited"})


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def complete(name: str) -> ServiceEvent:
    """The last one; with where its log is to be read inside."""
    return ServiceEvent(type="complete", timestamp=now_ms(), log_files={"combined": f"{LOGS}/{name}.log"})


class Watch:
    """Of one service, from the moment that it is made."""

    def __init__(self, keeper: Keeper, name: str, entry: Entry, place: Place | None = None) -> None:
        self._keeper = keeper
        self._name = name
        self._entry = entry
        self._log: Log = keeper.supervisor.log(entry.container)
        self._place = place or self._log.place(time.time_ns())
        self._seen, _ = keeper.node(entry)
        self._telling = Telling()

    async def starting(
        self, duration_s: float, gone: asyncio.Future[None] | None = None
    ) -> AsyncIterator[ServiceEvent]:
        """For so long; what happens, as it happens. `PeerError` when `gone` is done: nobody listens any more."""
        if self._seen.process is not None and not self._seen.starting:
            yield ServiceEvent(type="started", timestamp=now_ms())
        async for event in self._for(duration_s, until_over=False, gone=gone):
            yield event
        yield complete(self._name)

    async def stopping(self, patience_s: float) -> AsyncIterator[ServiceEvent]:
        """Until it has ended."""
        yield ServiceEvent(type="stopping", timestamp=now_ms())
        async for event in self._for(patience_s, until_over=True):
            if event.type != "exit":
                yield event
        node, _ = self._keeper.node(self._entry)
        if node.process is None:
            yield ServiceEvent(type="stopped", timestamp=now_ms(), exit_code=node.exit_code)
        else:
            yield ServiceEvent(type="error", timestamp=now_ms(), data="it has not ended yet")
        yield complete(self._name)

    async def _for(
        self, duration_s: float, *, until_over: bool, gone: asyncio.Future[None] | None = None
    ) -> AsyncIterator[ServiceEvent]:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + duration_s
        while True:
            news = self._keeper.supervisor.changed.next(), self._log.changed.next()
            for event in self._happened():
                yield event
            if not self._seen.starting:  # what it says comes after the word that it is started
                for event in self.kept():
                    yield event
            left_s = end_s - loop.time()
            if left_s <= 0 or (until_over and self._is_over()):
                return
            awaited = [*(asyncio.shield(each) for each in news), *([] if gone is None else [gone])]
            await asyncio.wait(awaited, timeout=left_s, return_when="FIRST_COMPLETED")
            if gone is not None and gone.done():
                raise errors.PeerError("services: the client has gone")

    def _is_over(self) -> bool:
        node, verdict = self._keeper.node(self._entry)
        return node.process is None and (verdict is None or verdict.status in _OVER)

    def _happened(self) -> Iterator[ServiceEvent]:
        """Between what was seen and what is so."""
        before, (now, _) = self._seen, self._keeper.node(self._entry)
        self._seen = now
        if _has_ended(before, now) and now.exit_code is not None:
            yield ServiceEvent(type="exit", timestamp=now_ms(), exit_code=now.exit_code)
        if now.error is not None and now.error != before.error:
            yield ServiceEvent(type="error", timestamp=now_ms(), data=now.error)
        if _runs(now) and (not _runs(before) or before.process != now.process):
            yield ServiceEvent(type="started", timestamp=now_ms())

    def kept(self) -> Iterator[ServiceEvent]:
        """What it has written since the last look."""
        while pieces := self._log.read(self._place):
            for piece in pieces:
                if (event := self._telling.event(piece)) is not None:
                    yield event


def _runs(node: Node) -> bool:
    return node.process is not None and not node.starting


def _has_ended(before: Node, now: Node) -> bool:
    return now.ended is not None and now.ended != before.ended


class Telling:
    """Pieces of a log as text, in order. A character of which two have a part is told whole, with the second of them;
    what is no text is shown as far as it is."""

    def __init__(self) -> None:
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in STREAMS}

    def event(self, piece: LogPiece) -> ServiceEvent | None:
        """None while there is no whole character."""
        decoder = self._decoders[piece.stream]
        if piece.dropped:
            decoder.reset()  # the rest of what it waits for is gone
        text = decoder.decode(piece.data)
        return ServiceEvent(type=piece.stream, timestamp=_ms(piece.time), data=text) if text else None


def _ms(stamp: str) -> int:
    from datetime import datetime  # for the calls that tell logs alone: it takes a millisecond

    return round(datetime.fromisoformat(stamp).timestamp() * 1000)
