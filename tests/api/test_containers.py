"""The containers of a machine as its host sees them: which run, and how they ended, told until it is acknowledged."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from pilot.agent.containers import exits, naming
from pilot.agent.session import Known
from pilot.kernel import waiter
from pilot.server import client
from pilot.wire import faults, schema
from tests.api.test_exec import run
from tests.support.fake_machine import FakeLink, FakeMachine

pytestmark = pytest.mark.requires("root", "private")


async def listed(machine: FakeMachine) -> list[schema.ContainerRow]:
    answer = await client.request(await machine.dial(), "GET", "/v1/containers")
    return (await answer.json(schema.ContainerList)).containers


async def until_stopped(machine: FakeMachine) -> schema.ContainerRow:
    while True:
        (row,) = await listed(machine)
        if row.status == "stopped":
            return row
        await asyncio.sleep(0.01)


def kill_world(machine: FakeMachine) -> int:
    assert machine.runtime.container is not None
    pid = machine.runtime.container.pid
    os.kill(pid, signal.SIGKILL)
    return pid


def test_the_world_is_one_of_them_and_its_end_is_told_until_it_is_acknowledged(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            (row,) = await listed(machine)
            assert machine.runtime.container is not None
            assert (row.name, row.status, row.pid, row.exits) == (
                "world",
                "running",
                machine.runtime.container.pid,
                [],
            )
            pid = kill_world(machine)
            row = await until_stopped(machine)
            (ended,) = row.exits
            assert (ended.seq, ended.pid, ended.exit_code) == (1, pid, 137)
            assert ended.ended.endswith("Z")
            assert app.world.state == "failed"
            assert "137" in str(app.world.error)
            for _ in range(2):
                answer = await client.request(await machine.dial(), "DELETE", "/v1/containers/world/exits/1")
                assert answer.status == 204
                assert await listed(machine) == []

    run(test)


def test_an_exit_outlives_the_agent(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            kill_world(machine)
            row = await until_stopped(machine)
        assert machine.runtime.container is not None
        machine.runtime.container.delete(force=True)
        machine.die()
        async with machine.agent():
            assert await listed(machine) == [row]
            await client.request(await machine.dial(), "DELETE", "/v1/containers/world/exits/1")
        machine.die()
        async with machine.agent():
            assert await listed(machine) == []

    run(test)


def test_a_world_that_is_ended_on_purpose_has_no_exit_to_tell(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            answer = await client.request(await machine.dial(), "DELETE", "/v1/world")
            assert answer.status == 200
            assert await listed(machine) == []
            assert [name for name in machine.link.stored if name.endswith("/process")] == []

    run(test)


def test_the_newest_exits_are_kept_and_none_is_counted_twice() -> None:
    link = FakeLink()
    kept = exits.Exits(link)
    for pid in range(1, 21):
        for _ in range(2):
            kept.add("db", Known(pid, pid * 10, -1), waiter.ExitStatus(1), 0.0)
    assert [each.seq for each in kept.of("db")] == list(range(5, 21))
    kept.acknowledge("db", 7)
    kept.acknowledge("db", 7)
    kept.acknowledge("other", 1)
    link = link.successor()
    again = exits.Exits(link)
    again.restore()
    assert [each.seq for each in again.of("db")] == [5, 6, *range(8, 21)]
    again.add("db", Known(100, 1, -1), waiter.ExitStatus(None, 9, core_dumped=True), 0.0)
    newest = again.of("db")[-1]
    assert (newest.seq, newest.exit_code, newest.signal, newest.core_dumped) == (21, 137, 9, True)
    assert again.names() == {"db"}
    link.close()


@pytest.mark.parametrize("name", ["", "-a", "A", "a" * 32, "a/b", "ü"])
def test_what_a_container_is_not_called(name: str) -> None:
    with pytest.raises(faults.InvalidRequest):
        naming.check_name(name)


def test_names_in_the_store() -> None:
    longest = naming.store_name("a" * 31, "session", "1" * 19, "out.pipe")
    assert len(longest) < 96
    assert naming.parse_store_name(longest) == ("a" * 31, ("session", "1" * 19, "out.pipe"))
    assert naming.parse_store_name("disk") is None
    assert naming.parse_store_name("container/x") is None
