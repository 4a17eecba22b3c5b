"""Containers as a graph on the real init, agent and runtime: three with dependencies, and kill -9 of the agent."""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest
from tests.kernel import test_agent
from tests.kernel.test_agent import WORLD, Machine, make_disk
from tests.support import busybox, underinit

from pilot.server import client
from pilot.wire import events, graph, schema, websocket

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns")

FOREVER = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
ROUNDS = int(os.environ.get("PILOT_GRAPH_ROUNDS", "1"))  # of kills; more for who has the time
QUICK = {"interval_s": 0.2, "timeout_s": 5}


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return underinit.build_init_or_skip("static", tmp_path_factory.mktemp("init"))


@pytest.fixture
def machine(tmp_path: pathlib.Path, init: pathlib.Path) -> Iterator[Machine]:
    made = test_agent.Machine(tmp_path, init)
    yield made
    made.stop()
    print((tmp_path / "log").read_text())


def root(machine: Machine, name: str) -> dict[str, str]:
    place = machine.directory / "roots" / name
    if not place.exists():
        place.mkdir(parents=True)
        busybox.make_rootfs(place)
    return {"path": str(place / "rootfs")}


def container(machine: Machine, name: str, command: list[str], **more: Any) -> dict[str, Any]:
    return {"name": name, "root": root(machine, name), "command": command, **more}


async def apply(machine: Machine, *containers: Mapping[str, Any], **more: Any) -> graph.GraphStatus:
    answer = await machine.call("PUT", "/v1/graph", {"containers": containers, **more})
    assert answer.status == 200, await answer.body()
    return await answer.json(graph.GraphStatus)


async def until(
    machine: Machine, holds: Callable[[dict[str, graph.ContainerStatus]], bool]
) -> dict[str, graph.ContainerStatus]:
    """The rows by name, as soon as it holds; an agent that is being started is asked again."""
    while True:
        try:
            answer = await machine.call("GET", "/v1/graph")
            rows = {row.name: row for row in (await answer.json(graph.GraphStatus)).containers}
        except Exception:  # noqa: BLE001 - the agent may have been killed in the middle of it
            await asyncio.sleep(0.02)
            continue
        if holds(rows):
            return rows
        await asyncio.sleep(0.05)


def are(**statuses: str) -> Callable[[dict[str, graph.ContainerStatus]], bool]:
    return lambda rows: {name: row.status for name, row in rows.items()} == statuses


def seen_here(pid: int | None) -> int:
    """A process of the machine, by its number in this test's pid namespace."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with open(f"/proc/{name}/status") as status:
            (line,) = [line for line in status if line.startswith("NSpid:")]
        numbers = line.split()[1:]
        if numbers[1:2] == [str(pid)]:
            return int(numbers[0])
    raise AssertionError(f"no process {pid} in the machine")


async def log(machine: Machine, name: str) -> str:
    answer = await machine.call("GET", f"/v1/containers/{name}/logs")
    lines = (await answer.body()).splitlines()
    return "".join(msgspec.json.decode(line, type=graph.LogPiece).text or "" for line in lines)


def test_three_that_depend_on_each_other_and_one_that_crashes(machine: Machine) -> None:
    """A migration, a server with a check, a client: the volume, the injected file, the namespaces, the crash."""
    shared = [{"path": "/shared", "volume": "data"}]
    containers = (
        container(machine, "migrate", ["sh", "-c", "echo done > /shared/schema; hostname; cat /etc/token"],
                  restart={"policy": "no"}, mounts=shared, hostname="migrator",
                  files=[{"path": "/etc/token", "content": "c2VjcmV0Cg==", "mode": "0400"}]),
        container(machine, "server", ["httpd", "-f", "-p", "127.0.0.1:8088", "-h", "/shared"], mounts=shared,
                  depends_on=[{"name": "migrate", "condition": "exited_successfully"}], stop={"signal": "KILL"},
                  checks=[{"name": "schema", "http": {"port": 8088, "path": "/schema"}, **QUICK},
                          {"name": "port", "tcp": {"port": 8088}, **QUICK},
                          {"name": "file", "exec": {"command": ["test", "-f", "/shared/schema"]}, **QUICK}]),
        container(machine, "client", ["sh", "-c", "wget -qO- http://127.0.0.1:8088/schema; echo $$; exec sleep 1000"],
                  depends_on=[{"name": "server", "condition": "healthy"}], stop={"signal": "KILL"}),
    )  # fmt: skip

    async def test() -> None:
        status = await apply(machine, *containers, volumes=[{"name": "data", "size_bytes": 1 << 20}])
        assert status.generation == 1
        rows = await until(machine, are(migrate="exited", server="running", client="running"))
        assert rows["server"].health == "healthy"
        assert await log(machine, "migrate") == "migrator\nsecret\n"
        assert await log(machine, "client") == "done\n1\n"
        client_pid, server_pid = seen_here(rows["client"].pid), seen_here(rows["server"].pid)
        for kind in ("pid", "mnt", "ipc", "uts", "user", "cgroup"):
            assert len({os.readlink(f"/proc/{pid}/ns/{kind}") for pid in (server_pid, client_pid)}) == 2, kind
        assert os.readlink(f"/proc/{client_pid}/ns/net") == os.readlink(f"/proc/{server_pid}/ns/net")
        os.kill(server_pid, signal.SIGKILL)
        rows = await until(machine, lambda rows: rows["server"].restarts == 1 and rows["server"].health == "healthy")
        assert seen_here(rows["client"].pid) == client_pid, "who depends on it is let alone"
        exits = await (await machine.call("GET", "/v1/containers")).body()
        assert b'"exit_code":137' in exits
        await apply(machine)
        await until(machine, are())
        assert os.listdir(machine.run / "volumes") == []
        assert os.listdir(machine.run / "containers") == []

    machine.test(test)


def test_what_is_mounted_read_only_is_so_for_its_root(machine: Machine) -> None:
    """A volume that another container writes to, and an injected file; nothing is left mounted for it."""
    tries = "; ".join(
        f"busybox mount -o remount,bind,rw {place}; (echo x > {file}) && echo wrote"
        for place, file in (("/shared", "/shared/new"), ("/etc/token", "/etc/token"))
    )
    containers = (
        container(machine, "writes", ["sh", "-c", "echo there > /shared/file"], restart={"policy": "no"},
                  mounts=[{"path": "/shared", "volume": "data"}]),
        container(machine, "reads", ["sh", "-c", f"exec 2>/dev/null; cat /shared/file; {tries}; cat /etc/token"],
                  depends_on=[{"name": "writes", "condition": "exited_successfully"}], restart={"policy": "no"},
                  mounts=[{"path": "/shared", "volume": "data", "readonly": True}],
                  files=[{"path": "/etc/token", "content": "c2VjcmV0Cg=="}]),
    )  # fmt: skip

    async def test() -> None:
        await apply(machine, *containers, volumes=[{"name": "data", "size_bytes": 1 << 20}])
        await until(machine, are(writes="exited", reads="exited"))
        assert await log(machine, "reads") == "there\nsecret\n", "nothing was written"
        await apply(machine)
        await until(machine, are())
        assert os.listdir(machine.run / "volumes") == os.listdir(machine.run / "containers") == []

    machine.test(test)


def test_it_converges_however_often_the_agent_is_killed(machine: Machine) -> None:
    """kill -9 of the agent at random while a graph comes up, changes and goes down."""
    chance = random.Random(11)
    a = container(
        machine, "a", ["sh", "-c", "n=0; while :; do echo $n; n=$((n+1)); sleep 0.02; done"], stop={"signal": "KILL"}
    )
    b = container(machine, "b", FOREVER, depends_on=[{"name": "a"}])
    c = container(machine, "c", ["sh", "-c", "echo once"], depends_on=[{"name": "b"}], restart={"policy": "no"})

    async def die() -> None:
        await asyncio.sleep(chance.random() * 0.2)
        try:
            os.kill(machine.agent_pid(), signal.SIGKILL)
        except StopIteration:
            pass  # it is being started

    async def put(*containers: Mapping[str, Any]) -> None:
        while True:
            try:
                await apply(machine, *containers)
            except AssertionError:
                raise
            except Exception:  # noqa: BLE001 - the agent was killed in the middle of it
                await asyncio.sleep(0.02)
            else:
                return

    def anew(pid: int | None) -> Callable[[dict[str, graph.ContainerStatus]], bool]:
        return lambda rows: are(a="running", b="running", c="exited")(rows) and rows["b"].pid != pid

    async def test() -> None:
        for _ in range(ROUNDS):
            await put(a, b, c)
            for _ in range(2):
                await die()
            rows = await until(machine, are(a="running", b="running", c="exited"))
            assert rows["c"].exit_code == 0
            pid = rows["a"].pid
            await die()
            changed = {**b, "environment": {"ROUND": str(chance.random())}}
            await put(a, changed, c)
            await die()
            rows = await until(machine, anew(rows["b"].pid))
            assert rows["a"].pid == pid, "no container died with the agent"
            numbers = [int(line) for line in (await log(machine, "a")).splitlines()]
            assert numbers == list(range(len(numbers))), "no line was lost or repeated"
            await put()
            await die()
            await until(machine, are())
        assert await leftovers(machine) == []

    machine.test(test)


async def leftovers(machine: Machine) -> list[str]:
    """But for directories on their way, which the next create removes (runtime/store.py)."""
    names = [*os.listdir(machine.run / "containers"), *os.listdir(machine.run / "pilot")]
    return [name for name in names if not name.startswith("~new-")]


def test_services_are_processes_in_the_world_and_come_back_with_it(machine: Machine, tmp_path: pathlib.Path) -> None:
    service = {
        "name": "service", "within": "world",
        "command": ["sh", "-c", "echo $FROM_WORLD $MINE $(id -un) $(pwd); exec sleep 1000"],
        "environment": {"MINE": "too"}, "stop": {"signal": "KILL"},
    }  # fmt: skip

    async def test() -> None:
        await apply(machine, service)
        rows = await until(machine, are(service="waiting"))
        assert rows["service"].waits_for == ["world"]
        for turn in range(2):
            disk_fd = make_disk(tmp_path)
            machine.send_disk(disk_fd)
            os.close(disk_fd)
            answer = await machine.call("PUT", "/v1/world", WORLD)
            assert answer.status == 200, await answer.body()
            rows = await until(machine, are(service="running"))
            assert rows["service"].restarts == turn
            assert (await machine.call("DELETE", "/v1/world")).status == 200
            await until(machine, are(service="waiting"))
        assert (await log(machine, "service")).splitlines() == ["yes too sprite /home/sprite"] * 2

    machine.test(test)


def test_what_cannot_be_started_says_why(machine: Machine) -> None:
    async def test() -> None:
        await apply(
            machine,
            container(machine, "nothing", ["no-such-program"], restart={"policy": "no"}),
            {"name": "nowhere", "root": {"path": str(machine.directory / "none")}, "command": ["true"],
             "restart": {"policy": "no"}},
            container(machine, "nobody", ["true"], user="nobody-of-that-name", restart={"policy": "no"}),
            container(machine, "after", ["true"], depends_on=[{"name": "nowhere"}]),
        )  # fmt: skip
        rows = await until(machine, are(nothing="exited", nowhere="exited", nobody="exited", after="blocked"))
        assert "no such place" in str(rows["nowhere"].error)
        assert "nobody-of-that-name" in str(rows["nobody"].error)
        assert rows["after"].why.startswith("waits for nowhere (started), which is exited: it could not be started")
        assert "no-such-program" in await log(machine, "nothing") or "no-such-program" in str(rows["nothing"].error)

    machine.test(test)


def test_any_container_is_entered_measured_and_paused(machine: Machine) -> None:
    """exec, a terminal's size, signals, statistics, pause and wait, in one that is not the world."""
    command = ["sh", "-c", "trap 'exit 3' USR1; while :; do sleep 0.1; done"]
    more = {"environment": {"FROM": "graph"}, "restart": {"policy": "no"}, "limits": {"memory_bytes": 64 << 20}}
    web = container(machine, "web", command, **more)

    async def test() -> None:
        await apply(machine, web)
        rows = await until(machine, are(web="running"))
        socket = await machine.exec("sh", "-c", "echo $FROM $$ $(hostname); stty size", container="web", tty="true",
                                    rows="33", cols="99")  # fmt: skip
        said = b""
        while not isinstance(message := await socket.receive(), websocket.Closed):
            said += message if isinstance(message, bytes) else b""
        assert b"graph" in said
        assert b"web" in said
        assert b"33 99" in said
        processes = await (await machine.call("GET", "/v1/containers/web/processes")).json(graph.ProcessList)
        first = next(row for row in processes.processes if row.inner_pid == 1)
        assert first.pid == rows["web"].pid
        assert first.command.startswith("sh -c trap")
        stats = await (await machine.call("GET", "/v1/containers/web/stats")).json(graph.ContainerStats)
        assert 0 < stats.memory_bytes <= 64 << 20
        assert stats.memory_limit_bytes == 64 << 20
        assert stats.processes >= 1
        await apply(machine, {**web, "limits": {"memory_bytes": 48 << 20, "processes": 50}})
        while stats.memory_limit_bytes != 48 << 20 or stats.processes_limit != 50:
            stats = await (await machine.call("GET", "/v1/containers/web/stats")).json(graph.ContainerStats)
        rows = await until(machine, lambda now: now["web"].why == "it runs")
        assert rows["web"].pid == first.pid, "other limits end nobody"
        assert (await machine.call("POST", "/v1/containers/web/pause")).status == 204
        (row,) = (await (await machine.call("GET", "/v1/containers")).json(schema.ContainerList)).containers
        assert row.status == "paused"
        assert (await machine.call("POST", "/v1/containers/web/kill", {"signal": "USR1"})).status == 204
        assert (await machine.call("GET", "/v1/containers/web/wait?timeout=0")).status == 504
        assert (await machine.call("POST", "/v1/containers/web/resume")).status == 204
        ended = await (await machine.call("GET", "/v1/containers/web/wait")).json(schema.ContainerExit)
        assert (ended.exit_code, ended.pid) == (3, rows["web"].pid)

    machine.test(test)


def test_events_go_on_over_deaths_of_the_agent(machine: Machine) -> None:
    """None is lost, none is told twice, and the numbers have no hole."""
    crash = container(machine, "crash", ["sh", "-c", "exit 4"], restart={"first_delay_s": 0.05, "most_delay_s": 0.05})

    async def test() -> None:
        await apply(machine, crash)
        told: list[events.Event] = []
        for turn in range(4):
            while len([each for each in told if each.type == "container.ended"]) < 3 * (turn + 1):
                told += await since(machine, told[-1].seq if told else 0)
            try:
                os.kill(machine.agent_pid(), signal.SIGKILL)
            except StopIteration:
                pass  # it is being started
        assert [each.seq for each in told] == list(range(1, len(told) + 1))
        ended = [each.exit for each in told if each.type == "container.ended"]
        assert ended == list(range(1, len(ended) + 1))
        assert {each.exit_code for each in told if each.type == "container.ended"} == {4}
        assert [each.restarts for each in told if each.type == "agent.started"][:3] == [0, 1, 2]

    machine.test(test)


def test_a_request_id_is_answered_once_also_by_the_next_agent(machine: Machine) -> None:
    forever = container(machine, "forever", ["sleep", "1000"], stop={"signal": "KILL"})

    async def ask(id: str) -> tuple[int, bytes, str | None]:
        answer = await client.request(
            await machine.dial(), "POST", "/v1/containers/forever/restart", headers={"Pilot-Request-Id": id}
        )
        return answer.status, await answer.body(), answer.headers.get("pilot-repeated")

    async def test() -> None:
        await apply(machine, forever)
        await until(machine, are(forever="running"))
        first = await ask("one")
        await until(machine, lambda rows: rows["forever"].restarts == 1 and rows["forever"].status == "running")
        os.kill(machine.agent_pid(), signal.SIGKILL)
        await until(machine, are(forever="running"))
        assert await ask("one") == (200, first[1], "true")
        rows = await until(machine, are(forever="running"))
        assert rows["forever"].restarts == 1

    machine.test(test)


async def since(machine: Machine, seq: int) -> list[events.Event]:
    while True:
        try:
            answer = await machine.call("GET", f"/v1/events?since={seq}")
            lines = (await answer.body()).splitlines()
        except Exception:  # noqa: BLE001 - the agent may have been killed in the middle of it
            await asyncio.sleep(0.02)
            continue
        return [msgspec.json.decode(line, type=events.Event) for line in lines]
