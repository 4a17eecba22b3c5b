"""Datagrams to an app's Machines: all that one client address sends to a port goes to one of them, and answers back.

    datagram ─ whose? ─► known: its flow's link                       ┌► answers, by the address that was asked
                └ new ─► a place at a Machine (started, if need be) ─► link

A flow is a connection of its service for as long as it is used: it counts for limits, and keeps its Machine awake. It
ends when nothing has gone either way for IDLE_S, or UNANSWERED_S where nothing has come back yet, and with its Machine:
what was sent to that is not sent anew, so it is started again by who says something then. Who sends from many
addresses, or in many names, takes others no more than this: so many flows of a port (the oldest that was never
answered goes first, and of one host its own), so many that are being opened, and of one that waits so many datagrams.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from typing import cast

from .... import errors
from ....ids import MachineId
from ...relay.crowd import Crowd, Kind
from ...services.fly_ways import Backend, FlyWays, Way
from ..pool import NothingListens
from . import links
from .backlog import Backlog, Waiting
from .facade import SETTLE_S, Apps, is_new
from .links import Link, Sending

log = logging.getLogger(__name__)

IDLE_S, UNANSWERED_S = 60.0, 30.0
MOST, MOST_OF_HOST, MOST_OPENING = 256, 64, 32  # flows of one port
MOST_EARLY, MOST_EARLY_BYTES = 16, 64 << 10  # datagrams of a flow whose Machine is not there yet
_PAUSE_S = 0.05
Peer = tuple[str, int]


class Flow:
    """Of one client's address."""

    def __init__(self, door: Door, peer: Peer) -> None:
        self.peer = peer[0]  # as the crowd wants it
        self.address = peer
        self.is_answered = False
        self.is_open = False
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._at_s = self._loop.time()
        self._early = Backlog(door.waiting, door.way.app.id, most=MOST_EARLY, most_bytes=MOST_EARLY_BYTES)
        self._last = self._refused = b""
        self._link: Link | None = None
        self._refusal = asyncio.Event()
        self.task = self._loop.create_task(self._run(), name="datagrams of a client")
        self.task.add_done_callback(lambda _: self._over())

    def take(self, data: bytes) -> None:
        """The client's, who alone makes it live longer. Where it is said once more, that is ours."""
        self._at_s = self._loop.time()
        if self._link is not None:
            self._send(self._link, data)
        else:
            self._early.add(data)

    def _send(self, link: Link, data: bytes) -> None:
        self._last = data
        link.send(data)

    def end(self) -> None:
        """It lets go of all that it has, or waits for; what its client says next begins another one."""
        self._door.forget(self)
        self.task.cancel()

    def _over(self) -> None:
        self._early.clear()
        self._door.forget(self)

    # The Machine's

    def answered(self, data: bytes) -> None:
        self._at_s = self._loop.time()
        self.is_answered = True
        self._door.send(data, self.address)

    def refused(self) -> None:
        self._refused = self._last
        self._refusal.set()

    def ended(self) -> None:
        self.end()

    # The crowd's, and that of uses

    def make_room(self) -> None:
        self.end()

    def cut(self) -> None:
        """Break it off; on any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self.end)

    async def _run(self) -> None:
        crowd = self._door.crowd
        crowd.arrive(self)
        try:
            crowd.become(self, Kind.VISITOR)
            await self._at_a_machine()
        except errors.PilotError as error:  # there is nobody whom it could be told
            log.info("datagrams not served", extra={"peer": self.peer, "error": str(error)})
        finally:
            crowd.leave(self)

    async def _at_a_machine(self) -> None:
        """What refuses datagrams is left for another Machine. `PilotError` when there is none."""
        tried: set[MachineId] = set()
        while True:
            try:
                async with self._door.apps.places.place(self._door.way, self.cut, tried) as backend:
                    await self._with(backend)
                    return
            except NothingListens:
                tried.add(backend.id)

    async def _with(self, backend: Backend) -> None:
        """Until nobody says anything any more. `NothingListens`: what it did not take is for another one."""
        link = await links.open_link(self._door.ways, backend, self, self._door.waiting)
        try:
            if not self.is_open:
                self._at_s = self._loop.time()  # an answer is waited for from here on
            self._link, self.is_open = link, True
            while self._early:
                self._send(link, self._early.drop())
            await self._while_it_is_used(backend, link)
        finally:
            self._link = None
            link.close()

    async def _while_it_is_used(self, backend: Backend, link: Link) -> None:
        """`NothingListens` where nothing has answered yet; a little later where the Machine was just started."""
        settled_s = self._loop.time() + (SETTLE_S if is_new(backend) else 0.0)
        while (left_s := self._left_s()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._refusal.wait()
            if not self._refusal.is_set():
                continue  # somebody may have said something meanwhile
            self._refusal.clear()
            refused = self._refused
            if self.is_answered:
                self.is_answered = False
            elif self._loop.time() > settled_s:
                self._early.add(refused)
                raise NothingListens(f"nothing listens on UDP port {backend.service.internal_port}")
            await asyncio.sleep(_PAUSE_S)
            self._send(link, refused)

    def _left_s(self) -> float:
        return self._at_s + (IDLE_S if self.is_answered else UNANSWERED_S) - self._loop.time()


class Door(asyncio.DatagramProtocol):
    """One port of an app. Close it."""

    def __init__(self, crowd: Crowd, apps: Apps, ways: FlyWays, way: Way, waiting: Waiting) -> None:
        self.crowd = crowd
        self.waiting = waiting
        self.apps = apps
        self.ways = ways
        self.way = way
        self._flows: dict[Peer, Flow] = {}  # the one that was used longest ago first
        self._of_host: Counter[str] = Counter()
        self._sending: Sending | None = None

    def renew(self, way: Way) -> None:
        """As its app's config says by now; or another app has that address. Flows of the same app go on."""
        if way.app.id != self.way.app.id:
            self._end()
        self.way = way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sending = Sending(cast(asyncio.DatagramTransport, transport))

    def datagram_received(self, data: bytes, address: Peer) -> None:
        peer = address[:2]
        flow = self._flows.pop(peer, None)
        if flow is None:
            if sum(not each.is_open for each in self._flows.values()) >= MOST_OPENING:
                return
            self._make_room(peer[0])
            flow = Flow(self, peer)
            self._of_host[peer[0]] += 1
        self._flows[peer] = flow
        flow.take(data)

    def _make_room(self, host: str) -> None:
        """For one more of that host."""
        every = list(self._flows.values())
        if self._of_host[host] >= MOST_OF_HOST:
            every = [each for each in every if each.address[0] == host]
        elif len(every) < MOST:
            return
        first = next((each for each in every if not each.is_answered), every[0])
        first.end()

    def forget(self, flow: Flow) -> None:
        """It is over; another one of the same address may have begun."""
        if self._flows.get(flow.address) is flow:
            del self._flows[flow.address]
            self._of_host[flow.address[0]] -= 1
            if not self._of_host[flow.address[0]]:
                del self._of_host[flow.address[0]]

    def send(self, data: bytes, address: Peer) -> None:
        """What cannot be sent at once is lost."""
        if self._sending is not None:
            self._sending.send(data, address)

    def error_received(self, error: Exception) -> None:
        """A client that does not take what it asked for: nothing follows."""

    def close(self) -> None:
        if self._sending is not None:
            self._sending.transport.abort()
        self._end()

    def _end(self) -> None:
        for flow in list(self._flows.values()):
            flow.end()


async def listen(address: str, port: int, door: Door) -> None:
    """`OSError` when somebody has the port."""
    listener = socket.socket(
        socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    )
    try:
        listener.setblocking(False)
        listener.bind((address, port))
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: door, sock=listener)
    except BaseException:
        listener.close()
        raise
