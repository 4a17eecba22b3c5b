"""The graph's acting part where what it stands on fails for a moment: nothing that runs is forgotten."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from pilot import errors
from pilot.agent import machine_api
from pilot.agent.containers import registry as registries
from pilot.agent.containers.naming import store_name
from pilot.agent.events import Events
from pilot.agent.graph import deciding, refiling, shown_files, state, turns
from pilot.agent.graph import supervisor as supervisors
from pilot.agent.graph.instance import Instances
from pilot.agent.machine import Machine, Paths
from pilot.agent.record_budget import RecordBudget
from pilot.kernel import process as kernel_process
from pilot.kernel import waiter
from pilot.wire.graph import Container, FileContent, GraphRequest, InjectedFile, Restart, Root
from tests.support.fake_machine import FakeLink

WAIT_S = 30
NAME = "one"
_TWO = ("first", "second")


class Failing:
    """Fails the first time that it is asked for each of these."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def __call__(self, name: str) -> None:
        if name in self.names:
            self.names.remove(name)
            raise ConnectionError(f"{name}: no answer")


class Link(FakeLink):
    def __init__(self, fail: Failing) -> None:
        super().__init__()
        self._fail = fail

    def put(self, name: str, fd: int) -> None:
        self._fail(name)
        super().put(name, fd)


class Exits:
    """How a process ended is told only after a failure."""

    def __init__(self, fail: Failing) -> None:
        self._fail = fail

    def status(self, process: waiter.Process, timeout_s: float | None) -> waiter.ExitStatus:
        self._fail("status")
        return waiter.ExitStatus(7)

    def acknowledge(self, process: waiter.Process) -> None:
        self._fail("acknowledge")


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as started:
        yield started
        started.kill()


def _instances(process: subprocess.Popen[bytes]) -> type[Instances]:
    """Whose containers are all this one process."""

    class OneProcess(Instances):
        def start(self, wanted: Container, output: tuple[int, int], on_created: Callable[[int, int], None]) -> None:
            on_created(process.pid, kernel_process.start_time(process.pid))

        def find(self, name: str) -> None:
            return None

        def clean(self, name: str) -> None:
            pass

    return OneProcess


@pytest.mark.parametrize("failing", [store_name(NAME, "process"), "status", "acknowledge"])
def test_the_end_of_one_is_seen_though_init_did_not_answer_once(
    tmp_path: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    for module in (registries, supervisors):
        monkeypatch.setattr(module, "_RETRY_S", 0.01)
    monkeypatch.setattr(supervisors, "Instances", _instances(process))
    fail = Failing(failing)
    link = Link(fail)
    unused = cast(Any, None)  # sessions, world and runtime
    here = Machine(link, unused, cast(Any, Exits(fail)), "container", "boot", Paths(run=str(tmp_path)))

    async def scene() -> None:
        events = Events(link)
        events.restore()
        registry = registries.Registry(here, events)
        sessions = cast(Any, _NoSessions())
        graph = supervisors.Supervisor(here, registry, sessions, unused, RecordBudget(1 << 20), events)
        graph.restore()
        (tmp_path / "root").mkdir()
        wanted = Container(
            name=NAME, root=Root(path=str(tmp_path / "root")), command=["x"], restart=Restart(policy="no")
        )
        graph.apply(GraphRequest(containers=[wanted]))
        async with asyncio.timeout(WAIT_S):
            await _until(graph, lambda: _status(graph) == "running" and registry.watches(NAME, process.pid))
            process.kill()
            await _until(graph, lambda: _status(graph) == "exited")
        assert [row.exit_code for row in registry.exits.of(NAME)] == [7]
        await graph.close()
        registry.leave()

    asyncio.run(scene())
    assert fail.names == [], "it has failed once"
    link.close()


@pytest.mark.parametrize(("turn_s", "most"), [(WAIT_S, turns.AT_ONCE), (0.0, 2 * turns.AT_ONCE)])
def test_a_few_are_made_at_a_time_and_those_that_are_stuck_hold_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn_s: float, most: int
) -> None:
    going_on, seen = threading.Event(), threading.Condition()
    inside = greatest = 0

    class Slow(Instances):
        def start(self, wanted: Container, output: tuple[int, int], on_created: Callable[[int, int], None]) -> None:
            nonlocal inside, greatest
            with seen:
                inside += 1
                greatest = max(greatest, inside)
                seen.notify_all()
            assert going_on.wait(WAIT_S)
            with seen:
                inside -= 1
            raise errors.HostError("not today")

        def find(self, name: str) -> None:
            return None

        def clean(self, name: str) -> None:
            pass

    monkeypatch.setattr(supervisors, "Instances", Slow)
    monkeypatch.setattr(turns, "TURN_S", turn_s)
    link, unused = Link(Failing()), cast(Any, None)
    here = Machine(link, unused, cast(Any, Exits(Failing())), "container", "boot", Paths(run=str(tmp_path)))
    names = [f"c{number}" for number in range(2 * turns.AT_ONCE)]

    def are_inside() -> None:
        with seen:
            assert seen.wait_for(lambda: inside == most, WAIT_S)

    async def scene() -> None:
        asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(32))
        events = Events(link)
        events.restore()
        registry = registries.Registry(here, events)
        graph = supervisors.Supervisor(here, registry, cast(Any, _NoSessions()), unused, RecordBudget(1 << 20), events)
        graph.restore()
        (tmp_path / "root").mkdir()
        root, never = Root(path=str(tmp_path / "root")), Restart(policy="no")
        wanted = [Container(name=name, root=root, command=["x"], restart=never) for name in names]
        graph.apply(GraphRequest(containers=wanted))
        await asyncio.to_thread(are_inside)
        going_on.set()
        async with asyncio.timeout(WAIT_S):
            await _until(graph, lambda: all(graph.error(name) for name in names) and not graph.view().busy)
        await graph.close()
        registry.leave()

    asyncio.run(scene())
    assert greatest == most
    link.close()


def test_files_that_are_refused_are_told_once_and_the_graph_settles(
    tmp_path: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    class Refusing(_instances(process)):  # type: ignore[misc]  # a class that is made by a function
        def show_files(self, node: state.Node, wanted: Container) -> shown_files.Shown:
            nonlocal tried
            tried += 1
            assert node.made is not None
            return shown_files.Shown(wanted.files if tried > 3 else node.made.files, refused="" if tried > 3 else "no")

    monkeypatch.setattr(supervisors, "Instances", Refusing)
    monkeypatch.setattr(state, "MOST_REFILE_DELAY_S", 0.01)
    link, unused = Link(Failing()), cast(Any, None)
    here = Machine(link, unused, cast(Any, Exits(Failing())), "container", "boot", Paths(run=str(tmp_path)))
    (tmp_path / "root").mkdir()
    secret = InjectedFile(path="/key", content="YQ==", version=1)
    made = Container(name=NAME, root=Root(path=str(tmp_path / "root")), command=["x"], files=[secret])
    whys = set()

    async def scene() -> list[str | None]:
        events = Events(link)
        events.restore()
        registry = registries.Registry(here, events)
        graph = supervisors.Supervisor(here, registry, cast(Any, _NoSessions()), unused, RecordBudget(1 << 20), events)
        graph.restore()
        graph.apply(GraphRequest(containers=[made]))

        def is_settled() -> bool:
            view, decision = graph.decision()
            whys.add(decision.verdicts[NAME].why)
            return deciding.is_settled(view, decision)

        async with asyncio.timeout(WAIT_S):
            await _until(graph, lambda: _status(graph) == "running" and is_settled())
            graph.put(refiling.renewed(made, [FileContent(path="/key", content="Yg==", version=2)]))
            await _until(graph, lambda: is_settled() and tried == 4)
        await graph.close()
        registry.leave()
        return [event.message for event in events.since(0) if event.type == "container.files_not_shown"]

    assert asyncio.run(scene()) == ["no"]
    assert {"it runs; its files: no", "it runs"} <= whys
    link.close()


def test_what_one_container_cannot_believe_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused = cast(Any, None)
    here = Machine(unused, unused, unused, "container", "boot", Paths(run=str(tmp_path)))
    instances, believed = Instances(here, unused), []

    def believe(wanted: Container, _: object) -> None:
        if wanted.name == "first":
            raise OSError(errno.ENOSPC, "no room")
        believed.append(wanted.name)

    monkeypatch.setattr(instances, "_believe", believe)
    root = Root(path=str(tmp_path))
    nodes = [state.Node(made=Container(name=name, root=root, command=["x"]), starting=True) for name in _TWO]
    with pytest.raises(errors.HostError, match="first: "):
        instances.believe_all(nodes)
    assert believed == ["second"]


def test_of_what_follows_a_new_name_each_is_done_whatever_comes_of_the_others() -> None:
    """Credentials are fresh also where what is to be believed could not be written."""
    done = []

    async def fails() -> None:
        raise OSError(errno.ENOSPC, "no room")

    async def is_done() -> None:
        done.append("freshened")

    assert len(asyncio.run(machine_api._all_of((fails, is_done, fails)))) == 2
    assert done == ["freshened"]


class _NoSessions:
    async def end_all(self, name: str) -> None:
        pass


def _status(graph: supervisors.Supervisor) -> str:
    return graph.decision()[1].verdicts[NAME].status


async def _until(graph: supervisors.Supervisor, holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.shield(graph.changed.next())
