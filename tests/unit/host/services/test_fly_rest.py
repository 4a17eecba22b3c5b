"""Machines are put to rest one at a time, not when somebody comes meanwhile, and not those that somebody leases."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Iterator

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot.host.fly.services import Protocol, Rest, Service
from pilot.host.fsm.outcome import Ending
from pilot.host.services import fly_rest
from pilot.host.services.fly_rest import RestWatch
from pilot.host.services.fly_ways import Backend
from pilot.host.store import fly
from pilot.host.store.fly import App, Machine
from pilot.host.store.journal import now_us
from pilot.ids import MachineId


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


CLOCK = Clock()


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path, now_s=CLOCK)
    with under_test.database.transaction() as tx:
        fly.add_app(tx, App("app", under_test.organisation.id, "app", "default", 0))
    yield under_test
    under_test.close()


def _add(host: HostUnderTest, id: str, port: int = 80, **service: object) -> Machine:
    config = {
        "image": "box",
        "services": [{"internal_port": 80, "ports": [{"port": port}], "autostop": True} | service],
    }
    machine = Machine(
        MachineId(id), "app", id, "local", "created", "1", config, {}, (), cordoned=False, lease=None, created_us=0,
        updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, machine)
        fly.enter(tx, id, "started", "start", "flyd")
    return fly.by_id(host.database, id)


class Rested(RestWatch):
    """Notes what would be put to rest."""

    def __init__(self, host: HostUnderTest, after_s: float = 10.0) -> None:
        super().__init__(host.fly, after_s)
        self.begun: list[tuple[str, Rest]] = []

    def begin(self, row: Machine, rest: Rest) -> None:
        self.begun.append((row.id, rest))


def test_one_of_each_group_in_a_round(host: HostUnderTest) -> None:
    _add(host, "a")
    _add(host, "b")
    _add(host, "c", port=81, autostop="suspend")
    _add(host, "d", autostop="off")
    watch = Rested(host)
    watch.round()
    assert watch.begun == []  # from the first look on they are idle
    CLOCK.now_s += 5
    host.host.uses.touch("b")
    CLOCK.now_s += 6
    watch.round()
    assert watch.begun == [("a", Rest.STOP), ("c", Rest.SUSPEND)]


def test_one_that_is_used_or_leased_does_not_rest(host: HostUnderTest) -> None:
    used, leased = _add(host, "a"), _add(host, "b", port=81)
    watch = Rested(host)
    watch.round()
    CLOCK.now_s += 11
    host.fly.acquire(leased, None, 3600, "somebody", "")
    with host.host.uses.using(used.id):
        watch.round()
    assert watch.begun == []


def test_who_comes_before_it_has_said_that_it_rests_keeps_it(host: HostUnderTest) -> None:
    row = _add(host, "a")
    with host.host.uses.using(row.id):
        outcome = host.fly.rest(row, suspend=False).result(WAIT_S)
    assert (outcome.ending, outcome.error) == (Ending.USER_FAULT, "the machine is in use")
    assert fly.by_id(host.database, row.id).state == "started"


def test_one_that_is_leased_after_it_was_looked_at_runs_on(host: HostUnderTest) -> None:
    row = _add(host, "a")
    host.fly.acquire(row, None, 3600, "somebody", "")
    outcome = host.fly.rest(row, suspend=False).result(WAIT_S)
    assert (outcome.ending, outcome.error) == (Ending.USER_FAULT, "somebody has leased the machine")
    assert fly.by_id(host.database, row.id).state == "started"


def test_what_is_stopped_already_is_left(host: HostUnderTest) -> None:
    row = _add(host, "a")
    with host.database.transaction() as tx:
        fly.enter(tx, row.id, "stopped", "exit", "flyd")
    outcome = host.fly.rest(row, suspend=True).result(WAIT_S)
    assert (outcome.ending, outcome.error) == (Ending.USER_FAULT, "the machine is stopped")
    assert fly.by_id(host.database, row.id).state == "stopped"


def test_groups_are_of_those_that_run(host: HostUnderTest) -> None:
    _add(host, "a")
    _add(host, "b", port=81)
    with host.database.transaction() as tx:
        fly.change(tx, "b", state="stopped", updated_us=now_us())
    [served] = host.fly.ways.every()
    assert [[services[0].id for services in group] for group in fly_rest.groups(served)] == [["a"]]


class Broken(RestWatch):
    def round(self) -> None:
        raise KeyError("a fault of pilotd's own")


def test_a_fault_in_a_round_ends_no_watch(host: HostUnderTest) -> None:
    fly_rest._round(Broken(host.fly, 10.0))


def test_with_its_machine_a_flow_of_datagrams_is_cut_and_a_connection_ends_by_itself(host: HostUnderTest) -> None:
    """What its program has said last is still on its way to who reads slowly; nobody ends datagrams."""
    row = _add(host, "a")
    cuts: list[str] = []
    tcp, udp = (Backend(row, Service(0, 80, protocol=protocol)) for protocol in (Protocol.TCP, Protocol.UDP))
    with contextlib.ExitStack() as stack:
        for backend, name in ((tcp, "tcp"), (udp, "udp")):
            for use in host.fly.ways.using(backend, functools.partial(cuts.append, name)):
                stack.enter_context(use)
        host.host.uses.gone("b")
        assert cuts == []
        host.host.uses.gone("a")
        assert cuts == ["udp"]
        host.host.uses.cut("a")
        assert sorted(cuts) == ["tcp", "udp", "udp"]
