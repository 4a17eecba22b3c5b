"""Snapshots of volumes go when they are older than their volume keeps them; what else is a checkpoint stays."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.operations.context import Point
from pilot.host.services.believed import Believed
from pilot.host.services.fly_volumes import Wanted
from pilot.host.store.fly import App
from pilot.host.store.fly_volumes import Volume
from pilot.host.store.journal import now_us
from pilot.ids import CheckpointId, VolumeId

_DAY_US = 86400 * 1_000_000


def _app(host: HostUnderTest) -> App:
    return host.fly.create_app(host.organisation.id, "app", "default")


def test_those_that_are_too_old(host: HostUnderTest) -> None:
    volumes, app = host.fly.volumes, _app(host)
    made = [volumes.create(app, Wanted("data", "local", 1, snapshot_retention=days)) for days in (1, 3)]
    assert all(ended.result(WAIT_S).done for _, ended in made)
    short, long = (volumes.find(app, id) for id, _ in made)
    for row in (short, short, long):
        _, ended = volumes.snapshot(row)
        assert ended.result(WAIT_S).done
    host.volumes.checkpoint(short.id, "", CheckpointId("v1"))
    taken_us = int(max(point.created_at for point in host.volumes.checkpoints(short.id)) * 1e6)
    assert volumes.prune(taken_us + _DAY_US // 2) == []
    pruned = volumes.prune(taken_us + 2 * _DAY_US)
    assert [ended.result(WAIT_S).done for ended in pruned] == [True]
    assert (len(volumes.snapshots(short)), len(volumes.snapshots(long))) == (0, 1)
    assert [point.id for point in host.volumes.checkpoints(short.id)] == ["v1"]


def test_one_that_cannot_be_looked_at_keeps_no_other_from_it(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes, app = host.fly.volumes, _app(host)
    made = [volumes.create(app, Wanted(name, "local", 1, snapshot_retention=1)) for name in ("one", "two")]
    assert all(ended.result(WAIT_S).done for _, ended in made)
    rows = [volumes.find(app, id) for id, _ in made]
    for row in rows:
        _, ended = volumes.snapshot(row)
        assert ended.result(WAIT_S).done
    checkpoints = host.volumes.checkpoints
    for broken, whole in (rows, rows[::-1]):

        def look(name: VolumeId, broken: Volume = broken) -> Sequence[Point]:
            if name == broken.id:
                raise errors.HostError("it cannot be opened")
            return checkpoints(name)

        monkeypatch.setattr(host.volumes, "checkpoints", look)
        pruned = volumes.prune(now_us() + 2 * _DAY_US)
        assert [ended.result(WAIT_S).done for ended in pruned] == [True]
        assert checkpoints(whole.id) == []


class _Clocks:
    """`wall_us` may be set to anything; `passed_us` only goes on."""

    def __init__(self, wall_us: int) -> None:
        self.wall_us, self.passed_us = wall_us, 0

    def pass_by(self, microseconds: int) -> None:
        self.wall_us += microseconds
        self.passed_us += microseconds

    def believed(self, host: HostUnderTest, first_us: int | None = None) -> Believed:
        return Believed(host.database, "test", lambda: first_us, lambda: self.wall_us, lambda: self.passed_us)


def test_a_clock_that_is_set_ahead_makes_nothing_older(host: HostUnderTest) -> None:
    clocks = _Clocks(100 * _DAY_US)
    believed = clocks.believed(host)
    assert believed.now_us() == 100 * _DAY_US
    clocks.pass_by(_DAY_US)
    clocks.wall_us += 3650 * _DAY_US
    assert believed.now_us() == 102 * _DAY_US  # twice what has passed
    assert clocks.believed(host).now_us() == 102 * _DAY_US  # the next pilotd, on a clock that is still wrong
    clocks.wall_us = 101 * _DAY_US
    assert believed.now_us() == 101 * _DAY_US


def test_what_passed_while_nobody_looked_is_caught_up_with(host: HostUnderTest) -> None:
    clocks = _Clocks(100 * _DAY_US)
    assert clocks.believed(host).now_us() == 100 * _DAY_US
    clocks.pass_by(3 * _DAY_US)
    later = clocks.believed(host)
    assert later.now_us() == 100 * _DAY_US
    clocks.pass_by(_DAY_US)
    assert later.now_us() == 102 * _DAY_US
    clocks.pass_by(5 * _DAY_US)
    assert later.now_us() == clocks.wall_us


def test_the_operator_is_told_once_that_it_is_far_behind(host: HostUnderTest, caplog: pytest.LogCaptureFixture) -> None:
    """As after a moment in which the clock stood at 1970: what is old now waits for years."""

    def told() -> list[logging.LogRecord]:
        return [each for each in caplog.records if each.name == "pilot.host.services.believed"]

    clocks = _Clocks(0)
    believed = clocks.believed(host)
    assert believed.now_us() == 0
    assert told() == []
    clocks.wall_us = 20_000 * _DAY_US
    for _ in range(3):
        clocks.pass_by(600 * 1_000_000)
        believed.now_us()
    (record,) = told()
    assert (record.levelname, vars(record)["clock"], vars(record)["behind_days"]) == ("WARNING", "test", 19_999)
    clocks.wall_us = 0
    believed.now_us()
    clocks.wall_us = 2 * _DAY_US
    believed.now_us()
    assert len(told()) == 2


def test_the_first_look_of_all_believes_no_more_than_what_has_happened(host: HostUnderTest) -> None:
    clocks = _Clocks(5000 * _DAY_US)
    assert clocks.believed(host, first_us=100 * _DAY_US).now_us() == 100 * _DAY_US


def test_the_first_look_does_without_a_volume_that_cannot_be_looked_at(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nothing would ever be pruned; but what may have snapshots is not taken for something that has none."""
    volumes, app = host.fly.volumes, _app(host)
    made = [volumes.create(app, Wanted(name, "local", 1)) for name in ("one", "two")]
    assert all(ended.result(WAIT_S).done for _, ended in made)
    broken, whole = (volumes.find(app, id) for id, _ in made)
    _, ended = volumes.snapshot(whole)
    assert ended.result(WAIT_S).done
    checkpoints = host.volumes.checkpoints

    def look(name: VolumeId) -> Sequence[Point]:
        if name == broken.id:
            raise errors.HostError("it cannot be opened")
        return checkpoints(name)

    monkeypatch.setattr(host.volumes, "checkpoints", look)
    (taken,) = volumes.snapshots(whole)
    assert volumes._newest_us() == int(taken.created_at * 1e6)
    pruned = volumes.prune(int(taken.created_at * 1e6) + 60 * _DAY_US)
    assert [ended.result(WAIT_S).done for ended in pruned] == [True]
    with pytest.raises(errors.HostError, match="cannot be opened"):
        volumes._newest_us()


def test_a_round_with_a_clock_in_the_future_deletes_nothing(host: HostUnderTest) -> None:
    volumes, app = host.fly.volumes, _app(host)
    id, made = volumes.create(app, Wanted("data", "local", 1, snapshot_retention=1))
    assert made.result(WAIT_S).done
    row = volumes.find(app, id)
    _, ended = volumes.snapshot(row)
    assert ended.result(WAIT_S).done
    clock = Believed(host.database, "snapshots", volumes._newest_us, lambda: now_us() + 3650 * _DAY_US)
    assert volumes.prune(clock.now_us()) == []
    assert len(volumes.snapshots(row)) == 1
