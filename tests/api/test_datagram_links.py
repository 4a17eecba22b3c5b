"""A way for datagrams by a machine's agent, where its network is beyond the host's kernel."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from typing import cast

import pytest

from pilot.host.fly.services import Protocol, Service
from pilot.host.ingress.apps import links
from pilot.host.ingress.apps.backlog import Waiting
from pilot.host.ingress.pool import NothingListens
from pilot.host.services.fly_ways import Backend, FlyWays
from pilot.host.store.fly import Machine
from pilot.ids import MachineId
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")
MACHINE = Machine(
    MachineId("m"), "app", "m", "local", "started", "1", {}, {}, (), cordoned=False, lease=None, created_us=0,
    updated_us=0,
)  # fmt: skip


class Ways:
    """In the place of `FlyWays`, to one machine."""

    def __init__(self, path: str) -> None:
        self._path = path

    def udp_socket(self, _: Backend) -> None:
        """Beyond this host's kernel."""

    def dial_path(self, _: Backend) -> str:
        return self._path


class Taker:
    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.over = asyncio.Event()

    def answered(self, data: bytes) -> None:
        self.answers.put_nowait(data)

    def refused(self) -> None:
        raise AssertionError("its agent tells nobody")

    def ended(self) -> None:
        self.over.set()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self._transport.sendto(data, address)


def test_there_and_back_until_it_is_gone(machine: FakeMachine) -> None:
    async def run() -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
        port = int(transport.get_extra_info("sockname")[1])
        backend, taker = Backend(MACHINE, Service(0, port, protocol=Protocol.UDP)), Taker()
        waiting = Waiting()
        with contextlib.closing(transport):
            async with asyncio.timeout(60):
                async with machine.agent():
                    link = await links.open_link(cast(FlyWays, Ways(machine.dial_path)), backend, taker, waiting)
                    for data in (b"one", bytes(40000), b"\xff\x00"):
                        link.send(data)
                        assert await taker.answers.get() == data
                    for _ in range(10 * links.MOST_WAITING):
                        link.send(b"x")  # what is too much at once is lost, and nothing waits for it
                    assert await taker.answers.get() == b"x"
                    for _ in range(10 * links.MOST_WAITING):
                        link.send(bytes(60000))  # and of bytes
                        assert waiting.bytes_of("app") <= links.MOST_BYTES
                await taker.over.wait()
                link.close()
                assert waiting.bytes_of("app") == 0
                with pytest.raises(NothingListens):
                    await links.open_link(cast(FlyWays, Ways(machine.dial_path)), backend, taker, Waiting())

    asyncio.run(run())


def test_a_machine_that_is_none(tmp_path: pathlib.Path) -> None:
    """What it says is no answer of an agent's."""

    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"OK 1\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            writer.close()

        path = str(tmp_path / "dial.sock")
        server = await asyncio.start_unix_server(serve, path)
        async with asyncio.timeout(60), server:
            backend = Backend(MACHINE, Service(0, 53, protocol=Protocol.UDP))
            with pytest.raises(NothingListens):
                await links.open_link(cast(FlyWays, Ways(path)), backend, Taker(), Waiting())

    asyncio.run(run())
