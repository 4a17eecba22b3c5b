"""Connections of bytes to an app's Machine: so many of an app, none that is idle for ever, none that has gone."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import struct
from collections.abc import AsyncIterator, Collection, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from pilot.host.fly.services import Ports, Protocol, Service
from pilot.host.ingress.apps import places, raw
from pilot.host.ingress.apps.directory import Directory
from pilot.host.ingress.apps.facade import Apps
from pilot.host.ingress.apps.health import Health
from pilot.host.ingress.apps.places import Places
from pilot.host.operations.uses import Cut
from pilot.host.relay.crowd import Crowd, limits
from pilot.host.services.addresses import Domain
from pilot.host.services.fly_ways import Backend, Way
from pilot.host.store import fly
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId
from pilot.wire import faults
from tests.support.host import WAIT_S, HostUnderTest

APP = App("app", "org", "app", "default", 0)
WAY = Way(APP, 9000, Ports(9000, 9000, frozenset()))
DATAGRAMS = Way(APP, 9000, Ports(9000, 9000, frozenset(), protocol=Protocol.UDP))
CONFIG = {
    "image": "box",
    "services": [
        {"protocol": protocol, "internal_port": 80, "ports": [{"port": 9000}]} for protocol in ("tcp", "udp")
    ],
}  # fmt: skip
MACHINE = Machine(
    MachineId("m"), "app", "m", "local", "created", "1", CONFIG, {}, (), cordoned=False, lease=None, created_us=0,
    updated_us=0,
)  # fmt: skip


class Stand:
    """In the place of `Apps`: a Machine that is there once `ready` is set, and echoes."""

    def __init__(self) -> None:
        self.ready, self.waiting = asyncio.Event(), 0
        self.places = SimpleNamespace(place=self._place)

    @contextlib.asynccontextmanager
    async def _place(self, way: Way, cut: Cut, without: Collection[MachineId]) -> AsyncIterator[Backend]:
        self.waiting += 1
        try:
            await self.ready.wait()
        finally:
            self.waiting -= 1
        yield Backend(MACHINE, Service(0, 80))

    async def open(self, backend: Backend) -> tuple[socket.socket, bytes]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=theirs)
        self.echo = asyncio.create_task(_echo(reader, writer))
        return ours, b""


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1024):
        writer.write(data)
    writer.close()
    await writer.wait_closed()


@contextlib.asynccontextmanager
async def _served(stand: Stand) -> AsyncIterator[int]:
    crowd, served = Crowd(limits(4096)), raw.Raw(cast(Apps, stand))
    made = await asyncio.get_running_loop().create_server(
        lambda: raw.Client(crowd, lambda client: served.serve(client, WAY)), "127.0.0.1", 0
    )
    try:
        yield made.sockets[0].getsockname()[1]
    finally:
        made.close()


async def _until(stand: Stand, waiting: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while stand.waiting != waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_what_was_said_before_the_machine_is_there_arrives() -> None:
    async def run() -> None:
        stand = Stand()
        async with asyncio.timeout(WAIT_S), _served(stand) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"one")
            await _until(stand, 1)
            stand.ready.set()
            writer.write(b"two")
            assert await reader.readexactly(6) == b"onetwo"
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())


def test_one_that_is_reset_waits_for_no_machine() -> None:
    async def run() -> None:
        stand = Stand()
        async with _served(stand) as port:
            client = socket.create_connection(("127.0.0.1", port))
            await _until(stand, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            await _until(stand, 0)

    asyncio.run(run())


def test_one_that_is_idle_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "IDLE_S", 0.2)

    async def run() -> None:
        stand = Stand()
        stand.ready.set()
        async with asyncio.timeout(WAIT_S), _served(stand) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                writer.write(b"hello")
                assert await reader.read() in (b"hello", b"")
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            await stand.echo  # the Machine's side has ended, too

    asyncio.run(run())


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    with under_test.database.transaction() as tx:
        fly.add_app(tx, App("app", under_test.organisation.id, "app", "default", 0))
        fly.add(tx, MACHINE)
    with under_test.database.transaction() as tx:
        fly.enter(tx, "m", "started", "start", "flyd")
    yield under_test
    under_test.close()


def test_an_app_has_so_many_at_once(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_AT_ONCE", 2)

    async def run() -> None:
        made = Places(host.fly, Directory(host.fly.ways, Domain()), Health(host.fly.processes))
        async with made.place(WAY, lambda: None), made.place(WAY, lambda: None):
            with pytest.raises(faults.Unavailable, match="app app has 2 connections open already"):
                async with made.place(WAY, lambda: None):
                    pass
        async with made.place(WAY, lambda: None) as backend:
            assert backend.id == "m"

    asyncio.run(run())


def test_flows_of_datagrams_leave_connections_their_places(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MAX_AT_ONCE", 2)
    monkeypatch.setattr(places, "MAX_FLOWS", 1)

    async def run() -> None:
        made = Places(host.fly, Directory(host.fly.ways, Domain()), Health(host.fly.processes))
        async with made.place(DATAGRAMS, lambda: None):
            with pytest.raises(faults.Unavailable, match="app app has 1 flows of datagrams open already"):
                async with made.place(DATAGRAMS, lambda: None):
                    pass
            async with made.place(WAY, lambda: None):
                pass
        async with made.place(WAY, lambda: None), made.place(DATAGRAMS, lambda: None):
            pass

    asyncio.run(run())
