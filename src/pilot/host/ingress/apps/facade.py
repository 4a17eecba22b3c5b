"""The facade of apps: a request goes to a Machine by itself, whatever else its connection carries.

What refuses a connection is left for another one, as long as nothing was sent to it. 404 no such app, 502 it does not
answer, 503 none runs, has room or may be started, 504 not in time.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from .... import errors
from ....ids import MachineId
from ....wire import faults
from ...relay.crowd import Kind
from ...relay.edge import Exchange
from ...relay.heads import Headers
from ...services.fly import REGION, FlyMachines
from ...services.fly_ways import Backend, Way
from ...store.journal import now_us
from .. import asked
from ..forwarding import Forwarding
from ..pool import NothingListens, Pool
from ..upstream import Upstream
from ..visitors import Visitors
from .directory import Directory
from .health import Health
from .places import Places

# What has just been started may listen a little later.
SETTLE_S = 10.0
_PAUSE_S = 0.05
T = TypeVar("T")
_NO_METHODS = frozenset({"CONNECT", "TRACE"})


class _Named:
    """As `pool.Named`."""

    def title(self, backend: Backend) -> str:
        return f"machine {backend.id}"

    def key(self, backend: Backend) -> Hashable:
        return backend.id, backend.row.version


class Apps:
    """For one event loop."""

    def __init__(self, machines: FlyMachines, directory: Directory, visitors: Visitors) -> None:
        self._visitors = visitors
        self._directory = directory
        self._pool = Pool(machines.ways, _Named())
        self.places = Places(machines, directory, Health(machines.processes))

    async def find(self, host: str, scheme: str) -> Way | None:
        """As `Directory.find`."""
        return await self._directory.find(host, scheme)

    async def serve(self, exchange: Exchange, way: Way, https_port: int | None) -> None:
        """Answers, or raises what is to be told. `https_port`: where the same is served over TLS, if it is."""
        head = exchange.head
        if head.method in _NO_METHODS:
            raise faults.MethodNotAllowed(f"apps are not asked with {head.method}")
        if way.ports.force_https and exchange.scheme == "http" and https_port is not None:
            _send_to_https(exchange, https_port)
            return
        shown = await self._visitors.shown(head, is_public=True)
        exchange.hold(Kind.VISITOR)
        await self._forward(exchange, way, consumed=shown is not None)

    async def _forward(self, exchange: Exchange, way: Way, *, consumed: bool) -> None:
        tried: set[MachineId] = set()
        refused: NothingListens | None = None
        while True:
            try:
                async with self.places.place(way, exchange.cut, tried) as backend:
                    await self._ask(exchange, way, backend, consumed=consumed)
                    return
            except NothingListens as error:
                refused = error
                tried.add(backend.id)
            except faults.Unavailable:
                if refused is not None:
                    raise refused from None  # there is no other one
                raise

    async def _ask(self, exchange: Exchange, way: Way, backend: Backend, *, consumed: bool) -> None:
        head, port = exchange.head, backend.service.internal_port
        said = _said(exchange, way)
        text = asked.rendered(head, exchange.peer, exchange.scheme.encode(), consumed=consumed, said=said)
        forwarding = Forwarding(exchange, text, lambda upstream: self._pool.give(backend, port, upstream))
        is_plain = asked.is_repeatable(head) and not head.wants_upgrade
        used = self._pool.taken(backend, port) if is_plain else None
        try:
            await forwarding.run(used, lambda: self.connect(backend))
        except NothingListens:
            raise
        except (errors.PeerError, faults.DeadlineExceeded) as error:
            raise type(error)(f"machine {backend.id}, port {port}: {error}", hint=error.hint) from error

    async def connect(self, backend: Backend) -> Upstream:
        """To its internal port, to ask it something. Errors as of `open`."""
        return await self._settled(backend, lambda: self._pool.connect(backend, backend.service.internal_port))

    async def open(self, backend: Backend) -> tuple[socket.socket, bytes]:
        """A connection that is the caller's, and what came on it already; a little later where the Machine has just
        been started. `NothingListens`, also when it has gone since it was chosen."""
        return await self._settled(backend, lambda: self._pool.open(backend, backend.service.internal_port))

    async def _settled(self, backend: Backend, connect: Callable[[], Awaitable[T]]) -> T:
        end_s = time.monotonic() + SETTLE_S if is_new(backend) else 0.0
        while True:
            try:
                return await connect()
            except NothingListens:
                if time.monotonic() > end_s:
                    raise
            except (errors.PeerError, errors.StateError, errors.NotFound) as error:
                raise NothingListens(f"machine {backend.id} is gone: {error}") from error
            await asyncio.sleep(_PAUSE_S)


def is_new(backend: Backend) -> bool:
    """Started a moment ago, as far as the clock is right."""
    return abs(now_us() - backend.row.updated_us) < SETTLE_S * 1e6


def _said(exchange: Exchange, way: Way) -> Headers:
    """What programs of such Machines read, as upstream's proxy says it."""
    port = b"%d" % way.port
    return (
        (b"fly-client-ip", exchange.peer.encode()),
        (b"fly-forwarded-port", port),
        (b"fly-forwarded-proto", exchange.scheme.encode()),
        (b"fly-region", REGION.encode()),
        (b"x-forwarded-port", port),
    )


def _send_to_https(exchange: Exchange, port: int) -> None:
    host = exchange.head.host + ("" if port == 443 else f":{port}")
    location = b"https://" + host.encode() + asked.target(exchange.head)
    exchange.answer.whole(301, [(b"location", location)], b"")
