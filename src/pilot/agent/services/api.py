"""The nine calls about services. Their streams are NDJSON, and end by themselves."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from ... import errors
from ...server import response
from ...server.call import Call
from ...server.routing import Route
from ...wire import duration, faults, operations
from ...wire.services import ServiceEvent
from .. import signal_names
from ..decimals import parse_decimal
from . import stream
from .keeper import Keeper
from .stream import Watch

START_S = 5.0
STOP_S = 10.0
MOST_S = 3600.0
# Beyond the patience that a service has: to be killed, and to be seen ended.
_GRACE_S = 5.0
# As tail(1) counts them: a page break or a progress bar's carriage return ends none.
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class ServicesApi:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def routes(self) -> list[Route]:
        return [
            Route(operations.LIST_SERVICES, self.every),
            Route(operations.SIGNAL_SERVICE, self.signal),
            Route(operations.GET_SERVICE, self.get),
            Route(operations.PUT_SERVICE, self.put),
            Route(operations.DELETE_SERVICE, self.delete),
            Route(operations.START_SERVICE, self.start),
            Route(operations.STOP_SERVICE, self.stop),
            Route(operations.RESTART_SERVICE, self.restart),
            Route(operations.SERVICE_LOGS, self.logs),
        ]

    async def every(self, _: Call) -> response.Response:
        """All, by name."""
        return response.json(await self._keeper.every())

    async def get(self, call: Call) -> response.Response:
        return response.json(await self._keeper.service(call.parameters["service"]))

    async def put(self, call: Call) -> response.Response:
        """Make or replace it, start it, and tell what it does for `duration`."""
        wanted = await call.asked(operations.PUT_SERVICE)
        duration_s = _seconds(call, "duration", START_S)
        entry = await self._keeper.put(call.parameters["service"], wanted)
        return response.ndjson(Watch(self._keeper, call.parameters["service"], entry).starting(duration_s))

    async def delete(self, call: Call) -> response.Response:
        await self._keeper.delete(call.parameters["service"])
        return response.Response(operations.DELETE_SERVICE.status)

    async def start(self, call: Call) -> response.Response:
        duration_s = _seconds(call, "duration", START_S)
        entry = await self._keeper.start(call.parameters["service"])
        return response.ndjson(Watch(self._keeper, call.parameters["service"], entry).starting(duration_s))

    async def stop(self, call: Call) -> response.Response:
        """To stay stopped until it is asked to start."""
        timeout_s = _seconds(call, "timeout", STOP_S)
        entry = await self._keeper.stop(call.parameters["service"], timeout_s)
        return response.ndjson(Watch(self._keeper, call.parameters["service"], entry).stopping(timeout_s + _GRACE_S))

    async def restart(self, call: Call) -> response.Response:
        duration_s = _seconds(call, "duration", START_S)
        entry = await self._keeper.restart(call.parameters["service"])
        return response.ndjson(Watch(self._keeper, call.parameters["service"], entry).starting(duration_s))

    async def logs(self, call: Call) -> response.Response:
        """What is kept, the last `lines` of it; then what comes, for `duration`."""
        duration_s = _seconds(call, "duration", 0.0)
        lines = _lines(call.request.first("lines"))
        entry = (await self._keeper.book()).entry(call.parameters["service"])
        log = self._keeper.supervisor.log(entry.container)
        watch = Watch(self._keeper, call.parameters["service"], entry, log.place())
        return response.ndjson(_logs(call, watch, lines, duration_s))

    async def signal(self, call: Call) -> response.Response:
        wanted = await call.asked(operations.SIGNAL_SERVICE)
        await self._keeper.signal(wanted.name, signal_names.parse_signal(wanted.signal))
        return response.Response(operations.SIGNAL_SERVICE.status)


async def _logs(call: Call, watch: Watch, lines: int | None, duration_s: float) -> AsyncIterator[ServiceEvent]:
    """`PeerError` when the client has gone: a sprite that nobody listens to may rest."""
    kept = list(watch.kept())
    for event in kept if lines is None else _last(kept, lines):
        yield event
    if not duration_s:
        yield stream.complete(call.parameters["service"])
        return
    async with call.leaving() as gone:
        async for event in watch.starting(duration_s, gone):
            yield event


def _seconds(call: Call, name: str, default_s: float) -> float:
    text = call.request.first(name)
    if not text:
        return default_s
    try:
        found = duration.parse_duration_s(text)
    except errors.PilotError as error:
        raise faults.InvalidRequest(f"{name}: {error}") from error
    if found > MOST_S:
        raise faults.InvalidRequest(f"{name}: more than {MOST_S:.0f} s")
    return found


def _lines(text: str) -> int | None:
    if not text:
        return None
    found = parse_decimal(text)
    if found is None:
        raise faults.InvalidRequest(f"lines: {text[:40]!r} is no number")
    return found


def _last(events: list[ServiceEvent], lines: int) -> list[ServiceEvent]:
    """The events that the last so many lines are in, the first of them cut."""
    found: list[ServiceEvent] = []
    for event in reversed(events):
        if lines <= 0:
            break
        rows = _LINE.findall(event.data or "")
        shown = rows[-lines:]
        lines -= len(shown)
        found.append(ServiceEvent(type=event.type, timestamp=event.timestamp, data="".join(shown)))
    return found[::-1]
