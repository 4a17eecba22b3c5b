"""Events, numbered and kept over the agent's death in a journal: the newest MOST of them.

    what happened ─► line here ─► document of who it happened to

In this order, so that a death in between loses none; the next agent does the second step again, and its event is the
one that is the container's last already (`_is_told`), so it is not told twice. A line that the agent died in the middle
of is cut off. When there are too many, the newest half becomes a new memfd, which init exchanges in one step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from .. import errors
from ..server import response
from ..server.call import Call
from ..server.routing import Route
from ..wire import faults, operations, timestamps
from ..wire.events import Event, EventType
from .decimals import parse_decimal
from .journal import Journal
from .machine import Link
from .output import Changed

STORE_NAME = "agent/events"
MOST = 4096
MOST_MESSAGE = 1000
_encode = msgspec.json.Encoder().encode


class Events:
    """One per machine. On the event loop."""

    def __init__(self, link: Link) -> None:
        self.changed = Changed()
        self._journal = Journal(link, STORE_NAME)
        self._events: list[Event] = []
        self._last: dict[tuple[str | None, EventType], Event] = {}

    @property
    def last_seq(self) -> int:
        """Of the newest one; 0 before the first."""
        return self._events[-1].seq if self._events else 0

    def restore(self) -> None:
        """Take over what the former agent told."""
        for line in self._journal.restore():
            self._keep(msgspec.json.decode(line, type=Event))

    def close(self) -> None:
        """Leave them to the next agent."""
        self._journal.close()

    def add(self, type: EventType, container: str | None = None, **facts: object) -> None:
        """It happened; nothing when it was told already."""
        if isinstance(message := facts.get("message"), str):
            facts["message"] = message[:MOST_MESSAGE]
        # Built by conversion, since what it is made of differs from type to type.
        made = {"seq": self.last_seq + 1, "time": timestamps.now(), "type": type, "container": container, **facts}
        event = msgspec.convert(made, Event)
        if self._is_told(event):
            return
        if len(self._events) >= MOST:
            self._drop_old()
        self._journal.append(_encode(event))
        self._keep(event)
        self.changed.notify()

    def add_start_of_ended(self, container: str, pid: int) -> None:
        """That one was started which has ended meanwhile; nothing when it was told already, with or without its end."""
        last = self._last.get((container, "container.started"))
        if last is None or last.pid != pid:
            self.add("container.started", container, pid=pid)

    def since(self, seq: int) -> list[Event]:
        """Those after `seq`, the oldest first; before them a `gap` where some are not kept any more."""
        found = [event for event in self._events if event.seq > seq]
        if found and (missed := found[0].seq - seq - 1) > 0:
            gap = Event(seq=found[0].seq - 1, time=found[0].time, type="gap", missed=missed)
            return [gap, *found]
        return found

    def _is_told(self, event: Event) -> bool:
        """Whether this is what was told last of the container, for what happens to it once."""
        if event.type == "container.ended":
            last = self._last.get((event.container, "container.ended"))
            return last is not None and last.exit == event.exit
        if event.type in ("container.started", "container.health", "container.removed"):
            last = self._last.get((event.container, event.type))
            ended = self._last.get((event.container, "container.ended"))
            fresh = last is None or (ended is not None and ended.seq > last.seq)
            return not fresh and last is not None and (last.pid, last.health) == (event.pid, event.health)
        return False

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        self._last[event.container, event.type] = event

    def _drop_old(self) -> None:
        del self._events[: MOST // 2]
        self._journal.replace(map(_encode, self._events))


class EventsApi:
    """The endpoint."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def routes(self) -> list[Route]:
        return [Route(operations.WATCH_EVENTS, self.watch)]

    async def watch(self, call: Call) -> response.Response:
        """Those after `since`, and with `follow` those that come."""
        since = parse_decimal(call.request.first("since", "0"))
        if since is None:
            raise faults.InvalidRequest(f"since: {call.request.first('since')!r} is no number of an event")
        if call.request.flag("follow"):
            return response.ndjson(self._followed(call, since))
        return response.ndjson(_each(self._events.since(since)))

    async def _followed(self, call: Call, since: int) -> AsyncIterator[Event]:
        async with call.leaving() as gone:
            while True:
                change = self._events.changed.next()
                for event in self._events.since(since):
                    since = event.seq
                    yield event
                news = asyncio.ensure_future(asyncio.shield(change))
                await asyncio.wait([gone, news], return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    raise errors.PeerError("events: the client has gone")


async def _each(events: list[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event
