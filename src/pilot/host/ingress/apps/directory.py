"""From a Host to an app's external port, and from that to the Machines behind. Remembered until anything is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import TypeVar, cast

from ...fly.services import Ports
from ...services.addresses import Domain, split_port
from ...services.fly_ways import Backend, FlyWays, Served, Way
from ...store.fly import App

MAX_KNOWN = 4096
# Beside commits of our own: somebody else may write the same store.
BELIEVED_S = 5.0
# The ports that a browser means when it says none.
_USUAL = {"http": 80, "https": 443}
T = TypeVar("T")


class Directory:
    """For one event loop; the store is asked in threads."""

    def __init__(self, ways: FlyWays, domain: Domain, clock: Callable[[], float] = time.monotonic) -> None:
        self._ways = ways
        self._domain = domain
        self._clock = clock
        self._known: dict[Hashable, tuple[object, int, float]] = {}

    async def find(self, host: str, scheme: str) -> Way | None:
        """None when no app has that name, or the app no service that reads HTTP there."""
        return await self._remembered(("host", host, scheme), lambda: self._look_up(host, scheme))

    async def served(self, app: App) -> Served:
        return await self._remembered(("app", app.id), lambda: self._ways.served(app))

    async def backends(self, way: Way) -> tuple[Backend, ...]:
        return (await self.served(way.app)).at(way.port, way.ports.protocol)

    async def _remembered(self, key: Hashable, look: Callable[[], T]) -> T:
        found = self._known.get(key)
        if found is not None and found[1] == self._ways.writes and self._clock() <= found[2]:
            return cast(T, found[0])
        writes = self._ways.writes  # before the store is read
        value = await asyncio.to_thread(look)
        self._known.pop(key, None)
        while len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[key] = (value, writes, self._clock() + BELIEVED_S)
        return value

    def _look_up(self, host: str, scheme: str) -> Way | None:
        label = self._domain.label(host)
        if label is None:
            return None
        if (app := self._ways.app(label)) is not None:
            return _of_web(self._ways.served(app), scheme)
        split = split_port(label)
        app = None if split is None else self._ways.app(split[1])
        return None if split is None or app is None else _at(self._ways.served(app), split[0])


def _of_web(served: Served, scheme: str) -> Way | None:
    """The port that a browser would ask of an address of the app's own; of others the lowest with that scheme."""
    fitting = [each for each in served.ways() if each.is_http and each.is_tls == (scheme == "https")]
    # Who has http alone is asked over TLS, too: it ends here in any case.
    fitting = fitting or [each for each in served.ways() if each.is_http]
    usual = next((each for each in fitting if _USUAL[scheme] in each), None)
    if usual is not None:
        return Way(served.app, _USUAL[scheme], usual)
    first = min(fitting, key=lambda each: each.first, default=None)
    return None if first is None else Way(served.app, first.first, first)


def _at(served: Served, port: int) -> Way | None:
    ports: Ports | None = next((each for each in served.ways() if port in each and each.is_http), None)
    return None if ports is None else Way(served.app, port, ports)
