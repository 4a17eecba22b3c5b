"""Datagrams to an app's Machines: a client's go to one of them, and floods leave others their place."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Collection
from types import SimpleNamespace
from typing import cast

import pytest

from pilot.host.fly.services import Ports, Protocol, Service
from pilot.host.ingress.apps import backlog, datagrams
from pilot.host.ingress.apps.backlog import Waiting
from pilot.host.ingress.apps.datagrams import MOST, MOST_EARLY, MOST_OF_HOST, MOST_OPENING, Door
from pilot.host.ingress.apps.facade import Apps
from pilot.host.operations.uses import Cut
from pilot.host.relay.crowd import Crowd, Kind, limits
from pilot.host.services.fly_ways import Backend, FlyWays, Way
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId
from pilot.wire import faults
from tests.support.host import WAIT_S

WAY = Way(App("app", "org", "app", "default", 0), 53, Ports(53, 53, frozenset(), protocol=Protocol.UDP))


class Program(asyncio.DatagramProtocol):
    """Answers what begins with `hi`, and takes all the rest."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, tuple[str, int]]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.taken.append((data, address))
        if data.startswith(b"hi"):
            self._transport.sendto(data, address)


class Stand:
    """In the place of `Apps` and `FlyWays`: Machines at ports of this host, there once `ready` is set."""

    def __init__(self, ports: list[int]) -> None:
        self.ready, self.open, self.cuts = asyncio.Event(), 0, set[Cut]()
        self.places_asked = 0
        self.is_opening, self.may_open = threading.Event(), threading.Event()
        self.may_open.set()
        self._made: list[socket.socket] = []
        self.places = SimpleNamespace(place=self._place)
        self.resting: set[str] = set()
        self.ports = ports

    @contextlib.asynccontextmanager
    async def _place(self, way: Way, cut: Cut, without: Collection[MachineId]) -> AsyncIterator[Backend]:
        self.open += 1
        self.places_asked += 1
        self.cuts.add(cut)
        try:
            await self.ready.wait()
            away = {*without, *self.resting}
            left = [number for number in range(len(self.ports)) if f"m{number}" not in away]
            if not left:
                raise faults.Unavailable("none")
            yield Backend(_machine(f"m{left[0]}"), Service(0, self.ports[left[0]], protocol=Protocol.UDP))
        finally:
            self.cuts.discard(cut)
            self.open -= 1

    def udp_socket(self, _: Backend) -> socket.socket:
        self.is_opening.set()
        assert self.may_open.wait(WAIT_S)
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        self._made.append(made)
        return made

    def hold_sockets(self) -> list[socket.socket]:
        """Those that are made once `may_open` is set."""
        self.may_open.clear()
        return self._made


def _machine(id: str) -> Machine:
    return Machine(
        MachineId(id), "app", id, "local", "started", "1", {}, {}, (), cordoned=False, lease=None, created_us=0,
        updated_us=0,
    )  # fmt: skip


class Served:
    def __init__(self, stand: Stand, door: Door, program: Program) -> None:
        self.stand = stand
        self.door = door
        self.program = program
        assert door._sending is not None
        self.port = int(door._sending.transport.get_extra_info("sockname")[1])

    def client(self, host: str = "127.0.0.1") -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.bind((host, 0))
        made.connect(("127.0.0.1", self.port))
        return made

    async def ask(self, client: socket.socket, data: bytes) -> bytes:
        client.send(data)
        return await asyncio.get_running_loop().sock_recv(client, 65535)

    async def insist(self, client: socket.socket, data: bytes) -> bytes:
        """As `ask`, again and again: one datagram may be lost, or come when its flow has just ended."""
        answer = asyncio.create_task(asyncio.get_running_loop().sock_recv(client, 65535))
        while not answer.done():
            client.send(data)
            await asyncio.wait([answer], timeout=0.05)
        return answer.result()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def _serving(*, dead: bool = False) -> AsyncIterator[Served]:
    """`dead`: before the Machine that answers comes one where nothing listens."""
    loop = asyncio.get_running_loop()
    transport, program = await loop.create_datagram_endpoint(Program, local_addr=("127.0.0.1", 0))
    ports = [int(transport.get_extra_info("sockname")[1])]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        ports = [nobody.getsockname()[1], *ports] if dead else ports
    stand = Stand(ports)
    door = Door(Crowd(limits(8192)), cast(Apps, stand), cast(FlyWays, stand), WAY, Waiting())
    await datagrams.listen("127.0.0.1", 0, door)
    try:
        async with asyncio.timeout(WAIT_S):
            yield Served(stand, door, program)
    finally:
        door.close()
        await asyncio.gather(*(flow.task for flow in list(door._flows.values())), return_exceptions=True)
        transport.close()


def test_what_clients_send_and_what_they_are_answered() -> None:
    async def run() -> None:
        async with _serving() as served:
            served.stand.ready.set()
            with served.client() as one, served.client() as other:
                assert await served.ask(one, b"hi one") == b"hi one"
                assert await served.ask(other, b"hi other") == b"hi other"
                assert await served.ask(one, b"hi" + bytes(60000)) == b"hi" + bytes(60000)
                sources = [address for _, address in served.program.taken]
                assert (sources[0], sources[1] == sources[0]) == (sources[2], False)
                assert served.stand.open == 2

    asyncio.run(run())


def test_what_was_said_before_the_machine_is_there_arrives_as_far_as_it_is_kept() -> None:
    async def run() -> None:
        async with _serving() as served:
            with served.client() as one:
                for number in range(MOST_EARLY + 20):
                    one.send(b"%d" % number)
                await served.until(lambda: served.stand.open == 1)
                [flow] = served.door._flows.values()
                await served.until(lambda: len(flow._early) == MOST_EARLY)
                served.stand.ready.set()
                await served.until(lambda: len(served.program.taken) >= MOST_EARLY)
                assert await served.ask(one, b"hi") == b"hi"
                assert [data for data, _ in served.program.taken[:MOST_EARLY]] == [b"%d" % n for n in range(MOST_EARLY)]

    asyncio.run(run())


def test_one_that_is_idle_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "IDLE_S", 0.05)
    monkeypatch.setattr(datagrams, "UNANSWERED_S", 0.05)

    async def run() -> None:
        async with _serving() as served:
            served.stand.ready.set()
            with served.client() as one:
                assert await served.insist(one, b"hi") == b"hi"
                await served.until(lambda: served.stand.open == 0 and not served.door._flows)
                assert await served.insist(one, b"hi") == b"hi"

    asyncio.run(run())


def test_one_that_is_cut_is_ended() -> None:
    async def run() -> None:
        async with _serving() as served:
            served.stand.ready.set()
            with served.client() as one:
                assert await served.ask(one, b"hi") == b"hi"
                [cut] = served.stand.cuts
                await asyncio.to_thread(cut)
                await served.until(lambda: served.stand.open == 0)

    asyncio.run(run())


def test_a_machine_where_nothing_listens_is_left_for_another() -> None:
    async def run() -> None:
        async with _serving(dead=True) as served:
            served.stand.ready.set()
            with served.client() as one:
                assert await served.ask(one, b"hi") == b"hi"  # the same datagram, to the other one

    asyncio.run(run())


def test_with_its_machine_it_is_over_and_what_was_said_is_not_said_again() -> None:
    """Neither to the one that has gone, which would be started for it, nor to another: it may be what ended it."""

    async def run() -> None:
        async with _serving() as served, _serving() as other:
            served.stand.ready.set()
            served.stand.ports.append(other.stand.ports[0])
            with served.client() as one:
                assert await served.ask(one, b"hi") == b"hi"
                one.send(b"x")
                await served.until(lambda: len(served.program.taken) == 2)
                served.stand.resting.add("m0")
                [cut] = served.stand.cuts
                await asyncio.to_thread(cut)  # as `Uses.gone`
                await served.until(lambda: served.stand.open == 0 and not served.door._flows)
                assert await served.ask(one, b"hi again") == b"hi again"
                assert [data for data, _ in other.program.taken] == [b"hi again"]
                assert (served.stand.places_asked, len(served.program.taken)) == (2, 2)

    asyncio.run(run())


def test_one_that_is_ended_while_it_waits_for_a_machine_lets_go_at_once() -> None:
    async def run() -> None:
        async with _serving() as served:
            with served.client() as one:
                one.send(b"hi")
                await served.until(lambda: served.stand.open == 1)
                [flow] = served.door._flows.values()
                flow.make_room()  # and no Machine comes
                await served.until(lambda: served.stand.open == 0 and not served.door._flows)
                assert served.door.crowd.count(Kind.VISITOR) == 0

    asyncio.run(run())


def test_of_an_app_so_much_waits_and_what_ends_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST_OF_APP", 1000)

    async def run() -> None:
        async with _serving() as served, contextlib.AsyncExitStack() as stack:
            clients = [stack.enter_context(served.client()) for _ in range(5)]
            for client in clients:
                client.send(bytes(300))
            await served.until(lambda: served.stand.open == 5)
            assert served.door.waiting.bytes_of("app") == 900
            for flow in list(served.door._flows.values()):
                flow.end()
            await served.until(lambda: served.stand.open == 0)
            assert served.door.waiting.bytes_of("app") == 0

    asyncio.run(run())


def test_a_door_goes_on_as_its_app_says_by_now_and_ends_the_flows_of_another_app() -> None:
    async def run() -> None:
        async with _serving() as served:
            served.stand.ready.set()
            with served.client() as one:
                assert await served.ask(one, b"hi") == b"hi"
                served.door.renew(Way(WAY.app, 53, Ports(53, 54, frozenset(), protocol=Protocol.UDP)))
                assert await served.ask(one, b"hi") == b"hi"
                assert served.stand.places_asked == 1  # the same flow
                served.door.renew(Way(App("other", "org", "other", "default", 0), 53, WAY.ports))
                await served.until(lambda: served.stand.open == 0)
                assert await served.ask(one, b"hi") == b"hi"
                assert served.stand.places_asked == 2

    asyncio.run(run())


def test_one_that_is_ended_while_its_link_is_opened_lets_go_at_once() -> None:
    async def run() -> None:
        async with _serving() as served:
            served.stand.ready.set()
            made = served.stand.hold_sockets()
            with served.client() as one:
                one.send(b"hi")
                await served.until(served.stand.is_opening.is_set)
                [cut] = served.stand.cuts
                await asyncio.to_thread(cut)
                await served.until(lambda: served.stand.open == 0 and not served.door._flows)
                served.stand.may_open.set()
                await served.until(lambda: [each.fileno() for each in made] == [-1])  # nobody wants it any more

    asyncio.run(run())


def test_of_those_that_wait_for_a_machine_there_are_so_many() -> None:
    async def run() -> None:
        async with _serving() as served, contextlib.AsyncExitStack() as stack:
            clients = [stack.enter_context(served.client(f"127.0.0.{n % 200 + 2}")) for n in range(MOST_OPENING * 3)]
            for client in clients:
                client.send(b"x")
            await served.until(lambda: served.stand.open == MOST_OPENING)
            served.stand.ready.set()
            with served.client() as one:
                assert await served.insist(one, b"hi") == b"hi"  # lost while others are being opened

    asyncio.run(run())


def test_a_flood_ends_nobody_who_is_answered() -> None:
    """Neither one host's, nor that of many."""

    async def run() -> None:
        async with _serving() as served, contextlib.AsyncExitStack() as stack:
            served.stand.ready.set()
            with served.client() as one:
                assert await served.ask(one, b"hi") == b"hi"
                for number in range(MOST + 100):
                    host = "127.0.0.9" if number < MOST_OF_HOST + 50 else f"127.0.1.{number % 250 + 1}"
                    stack.enter_context(served.client(host)).send(b"x")
                    while len(served.program.taken) < number + 2:  # noqa: ASYNC110
                        await asyncio.sleep(0.005)
                assert len(served.door._flows) <= MOST
                assert max(served.door._of_host.values()) <= MOST_OF_HOST
                await served.until(lambda: served.stand.open == len(served.door._flows))
                assert await served.ask(one, b"hi again") == b"hi again"
                assert served.program.taken[0][1] == served.program.taken[-1][1]  # by the same flow still

    asyncio.run(run())
