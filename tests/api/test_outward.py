"""What a machine asks its host: the real agent, the real sockets of the host, over a socket and over a multiplexer."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping

import pytest

from pilot import errors
from pilot.agent.application import Application
from pilot.agent.outward import Outward as Asking
from pilot.agent.outward import by_socket
from pilot.host.identity.rates import Rates
from pilot.host.outward import rows, sockets
from pilot.host.outward.sockets import Outward
from pilot.host.vmm.qemu import mux
from pilot.ids import MachineId
from pilot.server import client, response
from pilot.server.call import Call
from pilot.wire import dial, faults, operations, outward
from pilot.wire.permissions import Permission
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")

ME, OTHER = MachineId("m1"), MachineId("m2")


def told(caller: rows.Caller, _asked: None, _parameters: Mapping[str, str]) -> outward.Self:
    if caller.machine == OTHER:
        raise errors.NotFound("no such machine")
    return outward.Self(machine=caller.machine, isolation="container", memory_bytes=1, cpus=2, sprite="s")


def answers() -> Outward:
    return Outward([rows.answering(outward.GET_SELF, told)])


@pytest.fixture
def host() -> Iterator[Outward]:
    made = answers()
    yield made
    made.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


def place(machine: FakeMachine) -> str:
    return outward.socket_in(machine.paths.outward)


async def ask(asking: Asking, timeout_s: float = 20.0) -> outward.Self:
    return await asking.call(outward.GET_SELF, None, timeout_s)


def test_the_socket_says_who_asks(host: Outward, tmp_path: pathlib.Path) -> None:
    host.ensure(ME, str(tmp_path / "1" / "host.sock"))
    host.ensure(OTHER, str(tmp_path / "2" / "host.sock"))

    async def test() -> None:
        assert (await ask(Asking(by_socket(str(tmp_path / "1"))))).machine == ME
        with pytest.raises(errors.NotFound, match="no such machine"):
            await ask(Asking(by_socket(str(tmp_path / "2"))))

    run(test)


def test_a_world_asks_who_it_is(host: Outward, machine: FakeMachine) -> None:
    host.ensure(ME, place(machine))

    async def test() -> None:
        async with machine.agent():
            reader, writer = await asyncio.open_unix_connection(os.path.join(machine.paths.inside, "api.sock"))
            writer.write(b"GET /v1/self HTTP/1.1\r\nHost: m2\r\nX-Machine: m2\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert b'"machine":"m1"' in answer
            writer.close()

    run(test)


def test_who_asks_before_there_is_a_host_waits_for_it(host: Outward, machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            question = asyncio.create_task(ask(app.outward))
            await asyncio.sleep(0)
            await asyncio.to_thread(host.ensure, ME, place(machine))
            assert (await question).sprite == "s"

    run(test)


def test_nobody_is_unavailable_in_the_end(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            with pytest.raises(faults.Unavailable, match="reach the host"):
                await ask(app.outward, 0.3)

    run(test)


def test_another_pilotd_is_found_at_the_same_place(host: Outward, machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            await asyncio.to_thread(host.ensure, ME, place(machine))
            held = await app.outward.open(20)
            await asyncio.to_thread(host.remove, ME)
            assert await held.read() == b""
            held.abort()
            another = answers()
            try:
                await asyncio.to_thread(another.ensure, ME, place(machine))
                assert (await ask(app.outward)).machine == ME
            finally:
                await asyncio.to_thread(another.close)

    run(test)


def test_a_new_agent_asks_as_the_old_one_did(host: Outward, machine: FakeMachine) -> None:
    host.ensure(ME, place(machine))

    async def test() -> None:
        for _ in range(2):
            async with machine.agent() as app:
                assert (await ask(app.outward)).machine == ME
            machine.die()

    run(test)


def test_another_port_is_refused_at_once(host: Outward, machine: FakeMachine) -> None:
    host.ensure(ME, place(machine))

    async def test() -> None:
        async with machine.agent() as app:
            with pytest.raises(dial.Refused, match="no such port: 7"):
                await app.outward.open(3600, port=7)

    run(test)


@pytest.mark.parametrize("line", [b"", b"CONNECT x\n", b"GET / HTTP/1.1\r\n", b"C" * 5000, b"CONNECT 10000"])
def test_no_connect_line_ends_that_connection_alone(host: Outward, tmp_path: pathlib.Path, line: bytes) -> None:
    path = str(tmp_path / "host.sock")
    host.ensure(ME, path)
    with socket.socket(socket.AF_UNIX) as odd:
        odd.settimeout(30)
        odd.connect(path)
        odd.sendall(line)
        odd.shutdown(socket.SHUT_WR)
        said = odd.recv(2000)
        assert said == b"" or said.startswith(b"ERR ")
    run_one(path)


def run_one(path: str) -> None:
    async def test() -> None:
        assert (await ask(Asking(by_socket(os.path.dirname(path))))).machine == ME

    run(test)


def test_a_machine_that_holds_all_its_connections_holds_up_itself_alone(host: Outward, tmp_path: pathlib.Path) -> None:
    host.ensure(ME, str(tmp_path / "1" / "host.sock"))
    host.ensure(OTHER, str(tmp_path / "2" / "host.sock"))

    async def test() -> None:
        asking, other = Asking(by_socket(str(tmp_path / "1"))), Asking(by_socket(str(tmp_path / "2")))
        held = [await asking.open(20) for _ in range(outward.MOST_STREAMS)]
        with pytest.raises(errors.NotFound):
            await ask(other)
        one_more = asyncio.create_task(ask(asking))
        held.pop().abort()
        assert (await one_more).machine == ME
        for stream in held:
            stream.abort()

    run(test)


def test_a_machine_that_asks_too_often_is_refused_and_another_one_is_not(tmp_path: pathlib.Path) -> None:
    host = Outward([rows.answering(outward.GET_SELF, told)], Rates(2, 0.0))
    host.ensure(ME, str(tmp_path / "1" / "host.sock"))
    host.ensure(OTHER, str(tmp_path / "2" / "host.sock"))

    async def test() -> None:
        asking = Asking(by_socket(str(tmp_path / "1")))
        assert [(await ask(asking)).machine for _ in range(2)] == [ME, ME]
        with pytest.raises(faults.Exhausted, match="asked too often"):
            await ask(asking)
        with pytest.raises(errors.NotFound):
            await ask(Asking(by_socket(str(tmp_path / "2"))))

    try:
        run(test)
    finally:
        host.close()


def test_a_connection_on_which_nothing_is_asked_ends(
    host: Outward, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "KEEP_ALIVE_S", 0.01)
    host.ensure(ME, str(tmp_path / "1" / "host.sock"))

    async def test() -> None:
        held = await Asking(by_socket(str(tmp_path / "1"))).open(20)
        assert await held.read() == b""
        held.abort()

    run(test)


# -- over a multiplexer, whose host's end is the process of a virtual machine


def over_mux(machine: FakeMachine, directory: pathlib.Path, test: Callable[[Application], Awaitable[None]]) -> None:
    async def connected() -> None:
        ours, theirs = socket.socketpair()
        async with machine.agent() as app:
            port = app.listener.serve_port(theirs.detach())
            app.outward.use(port.open)
            link = mux.Link(os.urandom(16), lambda: None, str(directory / mux.OUT_SOCKET))
            transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=ours)
            try:
                await test(app)
            finally:
                transport.abort()
                port.close()

    run(connected)


def test_a_guest_asks_over_its_port(host: Outward, machine: FakeMachine, tmp_path: pathlib.Path) -> None:
    host.ensure(ME, str(tmp_path / mux.OUT_SOCKET))

    async def test(app: Application) -> None:
        found = await asyncio.gather(*[ask(app.outward) for _ in range(20)])
        assert {each.machine for each in found} == {ME}

    over_mux(machine, tmp_path, test)


def test_a_guest_waits_for_its_host(host: Outward, machine: FakeMachine, tmp_path: pathlib.Path) -> None:
    async def test(app: Application) -> None:
        question = asyncio.create_task(ask(app.outward))
        await asyncio.sleep(0)
        await asyncio.to_thread(host.ensure, ME, str(tmp_path / mux.OUT_SOCKET))
        assert (await question).machine == ME

    over_mux(machine, tmp_path, test)


def test_a_guest_that_asks_for_another_port(host: Outward, machine: FakeMachine, tmp_path: pathlib.Path) -> None:
    host.ensure(ME, str(tmp_path / mux.OUT_SOCKET))

    async def test(app: Application) -> None:
        with pytest.raises(dial.Refused, match="no such port: 7"):
            await app.outward.open(3600, port=7)
        assert (await ask(app.outward)).machine == ME

    over_mux(machine, tmp_path, test)


def test_a_guest_has_no_more_streams_than_that(host: Outward, machine: FakeMachine, tmp_path: pathlib.Path) -> None:
    """And its host reaches it all the same."""
    host.ensure(ME, str(tmp_path / mux.OUT_SOCKET))

    async def test(app: Application) -> None:
        held = [await app.outward.open(30) for _ in range(outward.MOST_STREAMS)]
        with pytest.raises(faults.Unavailable, match="are open already"):
            await app.outward.open(0.3)
        for stream in held:
            stream.abort()
        assert (await ask(app.outward)).machine == ME

    over_mux(machine, tmp_path, test)


def test_megabytes_from_a_guest_and_back(machine: FakeMachine, tmp_path: pathlib.Path) -> None:
    """Bodies beyond every window, both ways."""
    sent = os.urandom(3 << 20)

    async def echo(_caller: rows.Caller, call: Call) -> response.Response:
        return response.Response(200, await call.body(len(sent)))

    echoing = operations.Operation("echo", "POST", "/v1/echo", bytes, bytes, Permission.HOST)
    host = Outward([rows.Row(echoing, echo)])
    host.ensure(ME, str(tmp_path / mux.OUT_SOCKET))

    async def test(app: Application) -> None:
        stream = await app.outward.open(20)
        answer = await client.request(stream, "POST", "/v1/echo", body=sent)
        assert await answer.body() == sent

    try:
        over_mux(machine, tmp_path, test)
    finally:
        host.close()
