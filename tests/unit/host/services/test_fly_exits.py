"""Ends of Machines are seen as they happen: one that says nothing holds up nobody else's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pathlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.fsm.engine import Ended
from pilot.host.services import fly_exits
from pilot.host.services.fly_exits import Exits, Judge
from pilot.host.store import fly
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    with under_test.database.transaction() as tx:
        fly.add_app(tx, App("app", under_test.organisation.id, "app", "default", 0))
    yield under_test
    under_test.close()


def _add(host: HostUnderTest, id: str, state: str, config: dict[str, object] | None = None) -> MachineId:
    machine = Machine(
        MachineId(id), "app", id, "local", "created", "1", {"image": "box", **(config or {})}, {}, (), cordoned=False,
        lease=None, created_us=0, updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, machine)
        fly.enter(tx, id, state, "start", "flyd")
    return MachineId(id)


class Machines:
    """What would be asked of machines: each has its own events, and says how it is when it likes to."""

    def __init__(self) -> None:
        self.looked: dict[MachineId, int] = {}
        self.silent = threading.Event()
        self.mute: set[MachineId] = set()
        self.waiting: dict[MachineId, Callable[[], object]] = {}
        self.seen = threading.Condition()
        self.judge: Judge

    def running(self, id: MachineId) -> Ended | None:
        if id in self.mute:
            assert self.silent.wait(WAIT_S)
            raise errors.PeerError("no answer")
        with self.seen:
            self.looked[id] = self.looked.get(id, 0) + 1
            self.seen.notify_all()
        return None

    def at_rest(self, id: MachineId) -> None:
        self.running(id)

    async def events(self, id: MachineId) -> AsyncIterator[object]:
        loop, happened = asyncio.get_running_loop(), asyncio.Event()
        with self.seen:
            self.waiting[id] = lambda: loop.call_soon_threadsafe(happened.set)
            self.seen.notify_all()
        while True:
            await happened.wait()
            happened.clear()
            yield None

    def until(self, is_so: Callable[[], bool]) -> None:
        with self.seen:
            assert self.seen.wait_for(is_so, WAIT_S)


class _Judge(Judge):
    def __init__(self, machines: Machines) -> None:
        self.running = machines.running  # type: ignore[method-assign]
        self.at_rest = machines.at_rest  # type: ignore[method-assign]


@pytest.fixture
def machines(host: HostUnderTest) -> Iterator[Machines]:
    found = Machines()
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    found.judge = _Judge(found)
    exits = Exits(host.host, found.judge, found.events)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: loop.run_until_complete(exits.watch(ended)))
        yield found
        found.silent.set()
        loop.call_soon_threadsafe(ended.set)
        done.result(WAIT_S)
    loop.close()


def test_one_that_says_nothing_holds_up_nobody(host: HostUnderTest, machines: Machines) -> None:
    mute, other = MachineId("00000000000001"), MachineId("00000000000002")
    machines.mute.add(mute)
    _add(host, mute, "started")
    machines.until(lambda: mute in machines.waiting)
    machines.waiting[mute]()
    _add(host, other, "started")
    machines.until(lambda: other in machines.waiting)
    for _ in range(3):
        before = machines.looked.get(other, 0)
        machines.waiting[other]()
        machines.until(lambda before=before: machines.looked.get(other, 0) > before)  # type: ignore[misc]


def test_all_looks_follow_what_happens_during_one(
    host: HostUnderTest, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happened last may show a moment later, and nothing else would have it seen."""
    monkeypatch.setattr(fly_exits, "LOOKS_AFTER_S", (0.0, 0.01, 0.01, 0.01))
    id = MachineId("00000000000001")
    running, last = machines.running, 3

    def happens_in_a_look(id: MachineId) -> Ended | None:
        if machines.looked.get(id, 0) + 1 == last:
            machines.waiting[id]()
        return running(id)

    monkeypatch.setattr(machines.judge, "running", happens_in_a_look)
    _add(host, id, "started")
    machines.until(lambda: id in machines.waiting)
    machines.waiting[id]()
    machines.until(lambda: machines.looked.get(id) == last + len(fly_exits.LOOKS_AFTER_S))


def test_who_is_not_started_is_not_followed(host: HostUnderTest, machines: Machines) -> None:
    still, runs = _add(host, "00000000000001", "created"), _add(host, "00000000000002", "started")
    machines.until(lambda: runs in machines.waiting)
    assert still not in machines.waiting
    assert still not in machines.looked


def test_one_that_was_stopped_is_judged_once_for_each_version(host: HostUnderTest, machines: Machines) -> None:
    stopped = _add(host, "00000000000001", "stopped")
    machines.until(lambda: machines.looked.get(stopped) == 1)
    runs = _add(host, "00000000000002", "started")  # the store is looked at again
    machines.until(lambda: runs in machines.waiting)
    assert machines.looked[stopped] == 1


def test_what_is_under_way_is_left_to_itself(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that takes the machine down is not a machine that has gone."""
    id = _add(host, "00000000000001", "started", {"restart": {"policy": "no"}})
    judge = Judge(host.host, host.engine)
    begun = judge.running(id)
    assert begun is not None  # it has no machine
    monkeypatch.setattr(judge, "_is_busy", lambda id: True)
    assert judge.running(id) is None
    assert begun.result(WAIT_S).done
    assert fly.by_id(host.database, id).state == "stopped"


def test_one_that_goes_with_its_end_goes(host: HostUnderTest) -> None:
    id = _add(host, "00000000000001", "stopped", {"auto_destroy": True})
    stays = _add(host, "00000000000002", "stopped")
    judge = Judge(host.host, host.engine)
    judge.at_rest(id)
    judge.at_rest(stays)
    active = [run.resource for run in host.engine.active() if run.kind == "machine"]
    assert stays not in active
    for run in host.engine.active():
        ended = host.engine.waiting_for(run.id)
        if ended is not None:
            ended.result(WAIT_S)
    assert fly.by_id(host.database, id).state == fly.DESTROYED
    assert fly.by_id(host.database, stays).state == "stopped"
