"""What is kept of output: bounded for the whole machine, told when it is not all, and of ended sessions without
descriptors."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from pilot.agent import ended
from pilot.agent.application import Application
from pilot.server import client
from pilot.wire import websocket
from tests.api.test_exec import collect, held, open_exec, payload, run, settled
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")

MIB = 1 << 20


def recorded(machine: FakeMachine) -> int:
    """Memory that is taken by what is in the store."""
    return sum(os.fstat(fd).st_blocks * 512 for fd in machine.link.stored.values())


async def detached(machine: FakeMachine, script: str) -> str:
    """Id of a session whose client has left."""
    socket = await open_exec(machine, "sh", "-c", script, detachable="true")
    info = json.loads(str(await socket.receive()))
    await socket.close(1000)
    return str(info["session_id"])


async def until_ended(app: Application, count: int) -> None:
    while len(app.sessions._ended) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def test_many_chatty_sessions_stay_within_the_bound_and_say_what_is_gone(machine: FakeMachine) -> None:
    machine.memory_bytes = 64 * MIB

    async def test() -> None:
        async with machine.agent() as app:
            script = "head -c 8388608 /dev/zero | tr '\\0' x; echo end"
            ids = [await detached(machine, script) for _ in range(6)]
            await until_ended(app, 6)
            limit = app.sessions._budget.limit_bytes
            assert limit < 3 * MIB
            assert app.sessions._budget.kept_bytes <= limit
            assert recorded(machine) <= limit + 6 * 2 * os.sysconf("SC_PAGESIZE") + MIB
            events = await collect(await open_exec(machine, id=ids[-1]))
            mark = json.loads(str(events[1]))
            out = payload(events, 1)
            assert (mark["type"], mark["stream"]) == ("output_dropped", "stdout")
            assert mark["bytes"] + len(out) == 8 * MIB + 4
            assert out.endswith(b"xxx" + b"end\n")
            assert set(out[:-4]) == {ord("x")}

    run(test)


def test_slow_clients_hold_processes_and_not_memory(machine: FakeMachine) -> None:
    machine.memory_bytes = 64 * MIB

    async def test() -> None:
        async with machine.agent() as app:
            sockets = [await open_exec(machine, "sh", "-c", "yes | head -c 4194304") for _ in range(8)]
            await asyncio.sleep(0.5)
            assert app.sessions._budget.kept_bytes <= app.sessions._budget.limit_bytes * 3 // 2
            for socket in sockets:
                assert len(payload(await collect(socket), 1)) == 4 * MIB

    run(test)


def test_a_late_reader_gets_the_end_of_a_session_that_has_no_descriptors(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            await detached(machine, "true")
            await until_ended(app, 1)
            before = held()
            id = await detached(machine, "echo out; echo err >&2; exit 4")
            await until_ended(app, 2)
            await settled(app)
            assert held() == before
            assert [name for name in machine.link.stored if "/session/" in name] == []
            for _ in range(2):
                events = await collect(await open_exec(machine, id=id))
                assert (payload(events, 1), payload(events, 2)) == (b"out\n", b"err\n")
                assert events[-2:] == [b"\x03\x04", websocket.Closed(1000)]
            kill = await client.request(await machine.dial(), "POST", f"/v1/exec/{id}/kill")
            assert kill.status == 410

    run(test)


def test_a_terminal_that_has_ended_is_still_one(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            socket = await open_exec(machine, "sh", "-c", "echo out; exit 3", tty="true")
            info = json.loads(str(await socket.receive()))
            await collect(socket)
            await until_ended(app, 1)
            events = await collect(await open_exec(machine, id=info["session_id"]))
            assert json.loads(str(events[0]))["tty"] is True
            assert events[1:] == [b"out\r\n", '{"type":"exit","exit_code":3}', websocket.Closed(4003)]

    run(test)


def test_ended_sessions_outlive_the_agent_and_half_a_record_does_not(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            ids = [await detached(machine, f"echo {number}") for number in range(3)]
            await until_ended(app, 3)
            app.sessions._ended._drop(app.sessions._ended._sessions[ids[1]])
            arena = app.sessions._ended._fd
            size = os.fstat(arena).st_size
            # The agent dies while it writes a fourth.
            page = os.sysconf("SC_PAGESIZE")
            start = -(-size // page) * page
            header = ended._HEADER.pack(ended._MAGIC, 10, 100, 0, 0, 0)
            os.pwrite(arena, header, start)
        machine.die()
        async with machine.agent() as app:
            for id, expected in ((ids[0], b"0\n"), (ids[2], b"2\n")):
                assert payload(await collect(await open_exec(machine, id=id)), 1) == expected
            with pytest.raises(client.Refused):
                await open_exec(machine, id=ids[1])
            assert os.fstat(app.sessions._ended._fd).st_size == start
            id = await detached(machine, "echo after")
            await until_ended(app, 3)
            assert payload(await collect(await open_exec(machine, id=id)), 1) == b"after\n"

    run(test)


def test_an_agent_that_died_between_record_and_release_knows_the_session_once(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            id = await detached(machine, "echo once")
            session = app.sessions.find(id)
            await session.ended.wait()  # type: ignore[union-attr]
            names = [name for name in machine.link.stored if f"/session/{id}/" in name]
            assert sorted(name.rpartition("/")[2] for name in names) == ["err.log", "meta", "out.log"]
            copies = {name: os.dup(machine.link.stored[name]) for name in names}
            await until_ended(app, 1)
        for name, fd in copies.items():
            machine.link.put(name, fd)
            os.close(fd)
        machine.die()
        async with machine.agent() as app:
            assert app.sessions._sessions == {}
            assert [name for name in machine.link.stored if "/session/" in name] == []
            assert payload(await collect(await open_exec(machine, id=id)), 1) == b"once\n"

    run(test)


def test_an_agent_that_died_before_the_record_makes_it(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            socket = await open_exec(machine, "sh", "-c", "echo whole; exit 9")
            info = json.loads(str(await socket.receive()))
            session = app.sessions.find(info["session_id"])
            await session.ended.wait()  # type: ignore[union-attr]
            copies = {n: os.dup(fd) for n, fd in machine.link.stored.items() if "/session/" in n}
            assert len(copies) == 3
            await collect(socket)
            await until_ended(app, 1)
            app.sessions._ended.forget_all("world")
        for name, fd in copies.items():
            machine.link.put(name, fd)
            os.close(fd)
        machine.die()
        async with machine.agent() as app:
            events = await collect(await open_exec(machine, id=info["session_id"]))
            assert payload(events, 1) == b"whole\n"
            assert events[-2] == b"\x03\x09"

    run(test)


def test_hundreds_of_quick_commands_need_no_more_descriptors_than_one(machine: FakeMachine) -> None:
    async def quick() -> None:
        answer = await client.request(await machine.dial(), "POST", "/v1/exec?cmd=true", timeout_s=60)
        assert answer.status == 200
        assert (await answer.body())[-2:] == b"\x03\x00"

    async def test() -> None:
        async with machine.agent() as app:
            await quick()
            await until_ended(app, 1)
            before, stored = held(), len(machine.link.stored)
            for _ in range(20):
                await asyncio.gather(*(quick() for _ in range(10)))
            await until_ended(app, 201)
            assert (held(), len(machine.link.stored)) == (before, stored)

    run(test)


def test_what_is_left_of_a_session_goes_after_a_while(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended, "KEEP_S", 0.2)

    async def test() -> None:
        async with machine.agent() as app:
            id = await detached(machine, "echo gone")
            await until_ended(app, 1)
            while len(app.sessions._ended):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert app.sessions._budget.kept_bytes == 0
            with pytest.raises(client.Refused):
                await open_exec(machine, id=id)

    run(test)
