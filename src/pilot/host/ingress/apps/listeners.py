"""Listeners at the apps' own addresses, one for each external port of theirs, as the configs have them now.

    commit ─► which ports are there by now ─► those that have gone are closed, those that are new are opened
                                               ─► http: an edge of the relay; else: bytes (`raw`), `datagrams`

What cannot be opened (somebody else has the port) is tried again, and told once.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import ssl
import typing
from collections import Counter
from collections.abc import Callable, Iterator

from .... import errors
from ...fly.services import Protocol
from ...relay import server
from ...relay.edge import Exchange, Facade
from ...relay.server import Door, Listening
from ...services.fly_ways import FlyWays, Served, Way
from .. import telling
from . import datagrams
from .backlog import Waiting
from .facade import Apps
from .raw import Client, Raw

log = logging.getLogger(__name__)
Key = tuple[str, int, Protocol]  # where it is listened

RETRY_S = 5.0
# Between two looks, however much is written.
LEAST_S = 0.1
MOST = 4096
# So that no app, and no organisation with however many apps, leaves the others none. Of an app, a port that two of its
# Machines have in different ranges counts twice.
MOST_OF_APP, MOST_OF_ORGANISATION = 1024, 2048


@dataclasses.dataclass(frozen=True)
class Wanted:
    """`https_port`: where the app has TLS and HTTP, if it does, and HTTP is read here."""

    way: Way
    https_port: int | None


def wanted(ways: FlyWays) -> tuple[dict[Key, Wanted], frozenset[str]]:
    """All that is to be listened at, and the names of apps of which it is not all that they want.

    Blocks: each app that has a port gets its address. The oldest app is the first one.
    """
    found: dict[Key, Wanted] = {}
    of_organisation: Counter[str] = Counter()
    cut: set[str] = set()
    for served in ways.every():
        owner = served.app.organisation
        room = min(MOST_OF_APP, MOST_OF_ORGANISATION - of_organisation[owner], MOST - len(found))
        every = _of(served)
        ports = {(each.way.port, each.way.ports.protocol): each for each in itertools.islice(every, room)}
        if next(every, None) is not None:
            cut.add(served.app.name)
        if not ports:
            continue
        try:
            address = ways.address(served)
        except (errors.HostError, errors.NotFound) as error:
            log.warning("app has no address", extra={"app": served.app.name, "error": str(error)})
            continue
        if address is not None:
            found |= {(address, *port): each for port, each in ports.items()}
            of_organisation[owner] += len(ports)
    return found, frozenset(cut)


def _of(served: Served) -> Iterator[Wanted]:
    every = served.ways()
    secure = {each.first for each in every if each.is_tls and each.is_http}
    https_port = 443 if 443 in secure else min(secure, default=None)
    for ports in every:
        for port in range(ports.first, ports.last + 1):
            yield Wanted(Way(served.app, port, ports), https_port if ports.is_http else None)


class _Closed(typing.Protocol):
    """What listens."""

    def close(self) -> None: ...


class Listeners:
    """`run` beside a server, on its loop. `tls`: what it is spoken by; asked when it is first needed."""

    def __init__(self, ways: FlyWays, apps: Apps, tls: Callable[[], ssl.SSLContext]) -> None:
        self._ways = ways
        self._apps = apps
        self._raw = Raw(apps)
        self._tls = tls
        self._waiting = Waiting()
        self._open: dict[Key, tuple[Wanted, _Closed]] = {}
        self._failed: set[Key] = set()
        self._cut: frozenset[str] = frozenset()

    async def run(self, listening: Listening) -> None:
        """Until it is cancelled."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(told.set)

        stop = self._ways.watch(tell)
        try:
            while True:
                told.clear()
                try:
                    await self._look(listening)
                except (errors.PilotError, OSError) as error:  # of the store: it is asked again
                    log.warning("ports of apps not looked at", extra={"error": str(error)})
                except Exception:  # a fault of ours, which must not close what is open
                    log.exception("ports of apps not looked at")
                await asyncio.sleep(LEAST_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await told.wait()
        finally:
            stop()
            for _, accepting in self._open.values():
                accepting.close()

    async def _look(self, listening: Listening) -> None:
        there, cut = await asyncio.to_thread(wanted, self._ways)
        for app in cut - self._cut:
            log.warning("app has more ports than it may", extra={"app": app})
        self._cut = cut
        for key, (known, accepting) in list(self._open.items()):
            each = there.get(key)
            if each is not None and isinstance(accepting, datagrams.Door):
                accepting.renew(
                    each.way
                )  # its socket is closed a moment after it has been told, and would be in the way
                self._open[key] = each, accepting
            elif each != known:
                accepting.close()
                del self._open[key]
        for key in self._failed - there.keys():
            self._failed.discard(key)
        for key, each in there.items():
            if key not in self._open:
                await self._listen(listening, key, each)

    async def _listen(self, listening: Listening, key: Key, each: Wanted) -> None:
        try:
            open = self._accept_datagrams if each.way.ports.protocol is Protocol.UDP else self._accept
            self._open[key] = each, await open(listening, key, each)
        except (errors.PilotError, OSError) as error:
            if key not in self._failed:
                log.warning("port of an app not served", extra={"app": each.way.app.name, "error": str(error)})
            self._failed.add(key)
        else:
            self._failed.discard(key)

    async def _accept(self, listening: Listening, key: Key, each: Wanted) -> _Closed:
        address, port, _ = key
        with server.listen(address, port) as listener:
            door = Door(listener, self._tls() if each.way.ports.is_tls else None)
            return await listening.accept(door, self._maker(listening, each))

    async def _accept_datagrams(self, listening: Listening, key: Key, each: Wanted) -> _Closed:
        address, port, _ = key
        door = datagrams.Door(listening.crowd, self._apps, self._ways, each.way, self._waiting)
        await datagrams.listen(address, port, door)
        return door

    def _maker(self, listening: Listening, each: Wanted) -> Callable[[], asyncio.BaseProtocol]:
        if each.way.ports.is_http:
            facade = self._facade(each)
            return lambda: listening.edge(lambda host, path: facade)
        return lambda: Client(listening.crowd, lambda client: self._raw.serve(client, each.way))

    def _facade(self, each: Wanted) -> Facade:
        async def serve(exchange: Exchange) -> None:
            try:
                await self._apps.serve(exchange, each.way, each.https_port)
            except errors.PilotError as error:
                telling.tell(exchange, error)
            except Exception as error:
                log.exception("request failed", extra={"app": each.way.app.name})
                telling.tell(exchange, error)

        return serve
