"""Machines with a schedule are started when they stand still and it is time, and not else."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from tests.support.host import HostUnderTest

from pilot.host.services.fly import LeaseHeld
from pilot.host.services.fly_schedule import ScheduleWatch
from pilot.host.store import fly
from pilot.host.store.fly import App, Lease, Machine
from pilot.host.store.journal import now_us
from pilot.ids import MachineId

_HOUR_US = 3_600_000_000


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    with under_test.database.transaction() as tx:
        fly.add_app(tx, App("app", under_test.organisation.id, "app", "default", 0))
    yield under_test
    under_test.close()


def _add(host: HostUnderTest, id: str, states: tuple[str, ...], **config: object) -> None:
    machine = Machine(
        MachineId(id), "app", id, "local", "created", "1", {"image": "box"} | config, {}, (), cordoned=False,
        lease=None, created_us=now_us(), updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, machine)
        for state in states:
            fly.enter(tx, id, state, "start" if state == "started" else "exit", "flyd")


class Begun(ScheduleWatch):
    """Notes what would be started."""

    def __init__(self, host: HostUnderTest) -> None:
        super().__init__(host.fly)
        self.begun: list[str] = []

    def begin(self, row: Machine) -> None:
        self.begun.append(row.id)


def test_those_that_stand_still_and_are_due(host: HostUnderTest) -> None:
    _add(host, "due", ("started", "stopped"), schedule="hourly")
    _add(host, "not-yet", ("started", "stopped"), schedule="daily")
    _add(host, "runs", ("started",), schedule="hourly")
    _add(host, "has-none", ("started", "stopped"), env={"A": '"schedule"'})
    _add(host, "never", ("started", "stopped"), schedule="")
    _add(host, "leased", ("started", "stopped"), schedule="hourly")
    with host.database.transaction() as tx:
        fly.change(tx, "leased", lease=Lease("nonce", "me", "", now_us() + 10 * _HOUR_US))
    watch = Begun(host)
    watch.round(now_us() + _HOUR_US // 2)
    assert watch.begun == []
    watch.round(now_us() + 2 * _HOUR_US)
    assert watch.begun == ["due"]


def test_one_that_cannot_be_started_keeps_no_other_from_it(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for id in ("first", "second"):
        _add(host, id, ("started", "stopped"), schedule="hourly")
    asked: list[str] = []

    def start(row: Machine, nonce: str | None, source: str) -> None:
        asked.append(row.id)
        raise LeaseHeld("somebody has it since")

    monkeypatch.setattr(host.fly, "start", start)
    ScheduleWatch(host.fly).round(now_us() + 2 * _HOUR_US)
    assert asked == ["first", "second"]
