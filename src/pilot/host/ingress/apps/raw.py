"""A connection that carries whatever it likes: to one Machine, and to no other, from its first byte to its end.

Of it one buffer is read until its Machine is there, so that one that is reset meanwhile gives its place up.
PROXY protocol: https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import cast

from .... import errors
from ....ids import MachineId
from ...fly.services import Handler
from ...relay.crowd import Crowd, Kind
from ...services.fly_ways import Way
from ..pool import NothingListens
from ..tunnel import End
from .facade import Apps

log = logging.getLogger(__name__)

# Without a byte in either direction. Longer than programs let their own connections rest (TCP's keep-alive has 2 h).
IDLE_S = 3600.0


class Client(End):
    """Its connection. `serve` has it from the beginning, and ends it."""

    def __init__(self, crowd: Crowd, serve: Callable[[Client], Awaitable[None]]) -> None:
        super().__init__()
        self._crowd = crowd
        self._serve = serve
        self._serving: asyncio.Task[None] | None = None
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._own = cast(asyncio.Transport, transport)
        self._moved_s = self._loop.time()
        nobody = ("", 0)  # gone already
        self._ends = tuple(transport.get_extra_info(name) or nobody for name in ("peername", "sockname"))
        self.peer = str(self._ends[0][0])
        self._crowd.arrive(self)
        self._serving = self._loop.create_task(self._run(), name="raw connection")

    async def _run(self) -> None:
        try:
            self._crowd.become(self, Kind.VISITOR)
            await self._serve(self)
        except errors.PilotError as error:  # there is nobody whom it could be told
            log.info("connection not served", extra={"peer": self.peer, "error": str(error)})
        finally:
            self._own.abort()

    def data_received(self, data: bytes) -> None:
        self._moved_s = self._loop.time()
        if self._other is None:
            self._own.pause_reading()
        super().data_received(data)

    def write(self, data: bytes) -> None:
        self._moved_s = self._loop.time()
        super().write(data)

    def connection_lost(self, reason: Exception | None) -> None:
        super().connection_lost(reason)
        self._crowd.leave(self)
        if self._other is None and self._serving is not None:
            self._serving.cancel()  # nobody waits any more

    def make_room(self) -> None:
        self._own.abort()

    def cut(self) -> None:
        """Break it off; on any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and every connection with it
            self._loop.call_soon_threadsafe(self._own.abort)

    def who(self) -> bytes:
        """A line of the PROXY protocol that says who it is."""
        (peer, peer_port, *_), (here, port, *_) = self._ends
        family = b"TCP6" if ":" in peer else b"TCP4"
        return b"PROXY %s %s %s %d %d\r\n" % (family, peer.encode(), here.encode(), peer_port, port)

    async def run_with(self, server: End) -> None:
        """Until both ends are lost, or it has been idle for too long."""
        server.join(self)
        self.join(server)
        if not self._own.is_closing():
            self._own.resume_reading()
        ends = {self.lost, server.lost}
        while (left_s := self._moved_s + IDLE_S - self._loop.time()) > 0:
            if not (await asyncio.wait(ends, timeout=left_s))[1]:
                return
        log.info("connection was idle", extra={"peer": self.peer, "idle_s": IDLE_S})
        self._own.abort()
        await asyncio.wait(ends)


class Raw:
    """For one event loop."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    async def serve(self, client: Client, way: Way) -> None:
        """What refuses a connection is left for another Machine. `PilotError` when there is none."""
        tried: set[MachineId] = set()
        while True:
            try:
                async with self._apps.places.place(way, client.cut, tried) as backend:
                    connection, early = await self._apps.open(backend)
                    loop = asyncio.get_running_loop()
                    try:
                        _, server = await loop.create_connection(End, sock=connection)
                    except BaseException:
                        connection.close()
                        raise
                    if Handler.PROXY_PROTO in way.ports.handlers:
                        server.write(client.who())
                    if early:
                        server.data_received(early)
                    try:
                        await client.run_with(server)
                    finally:
                        server.close()
                    return
            except NothingListens:
                tried.add(backend.id)
