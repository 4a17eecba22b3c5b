"""Garbage collection that nobody asks for: when it runs, what becomes of its outcome, and its process."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from pilot import errors
from pilot.volume.answers import Outcome, State
from pilot.volume.remote.objects import opening
from pilot.volume.remote.tending import garbage
from pilot.volume.volumed import collector
from pilot.volume.volumed.collector import Schedule
from tests.support.logwriter import KEYS, Writer

A = "a" * 16
SCHEDULE = Schedule("memory://", every_s=3600.0, grace_s=86400.0)


class Clock(threading.Event):
    """Time that passes while somebody waits; tells to stop after some waits."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.now = 1000.0
        self.pauses: list[float] = []
        self._waits = waits

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        self.now += timeout
        return len(self.pauses) > self._waits


def _loop(runs: list[Outcome | Exception], schedule: Schedule = SCHEDULE) -> tuple[Clock, list[Outcome]]:
    clock, seen = Clock(len(runs)), []
    left = list(runs)

    def run(given: Schedule, stop: threading.Event) -> Outcome:
        assert given is schedule
        seen.append(made.outcome)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    made = collector.Collector(schedule, run, chance=lambda: 0.25, clock=lambda: clock.now)
    made.loop(clock)
    return clock, [*seen, made.outcome]


def test_the_first_run_comes_after_a_part_of_the_interval_and_the_rest_at_each() -> None:
    clock, outcomes = _loop([Outcome(State.DONE, deleted=3), Outcome(State.SKIPPED)])
    assert clock.pauses == [900.0, 3600.0, 3600.0]
    assert outcomes[0] == Outcome(State.WAITING, next_at=1900.0)
    assert outcomes[1] == Outcome(State.DONE, at=1900.0, next_at=5500.0, deleted=3)
    assert outcomes[2] == Outcome(State.SKIPPED, at=5500.0, next_at=9100.0)


def test_a_failure_is_kept_and_tried_again() -> None:
    runs: list[Outcome | Exception] = [errors.HostError("no key"), OSError("no process"), Outcome(State.DONE)]
    _, outcomes = _loop(runs)
    assert [(found.state, found.error) for found in outcomes[1:]] == [
        (State.FAILED, "no key"), (State.FAILED, "no process"), (State.DONE, None),
    ]  # fmt: skip


def test_an_interval_of_nothing_is_never() -> None:
    clock, _ = _loop([], Schedule("memory://", every_s=0, grace_s=86400.0))
    assert clock.pauses == []


@pytest.mark.parametrize("out", [b"", b"nonsense", b"[]", b'{"state": "unheard of"}', b'{"deleted": 3}'])
def test_a_process_that_says_nothing_has_failed(out: bytes) -> None:
    found = collector.parse(out, -9)
    assert found.state is State.FAILED
    assert found.error is not None
    assert "-9" in found.error


def _stored(tmp_path: Path) -> tuple[str, Writer]:
    url = f"file://{tmp_path}/store"
    writer = Writer(opening.open_store(url), A, "web")  # type: ignore[arg-type]  # a store as any other
    writer.birth()
    writer.give_name()
    for value in (1, 2):
        writer.write(0, value)
        writer.batch(snap=True)
    return url, writer


def test_a_run_is_a_process_of_its_own(tmp_path: Path) -> None:
    url, _ = _stored(tmp_path)
    schedule = Schedule(url, every_s=3600.0, grace_s=60.0)
    first = collector.run_child(schedule, threading.Event())
    assert (first.state, first.deleted, first.error) == (State.DONE, 0, None)
    assert first.condemned > 0
    assert collector.run_child(schedule, threading.Event()).state is State.SKIPPED  # there was one just now
    done = collector.collect(url, grace_s=-60.0, fresh_s=0)  # long after
    assert (done.state, done.deleted) == (State.DONE, first.condemned)


def test_a_run_by_a_clock_that_was_ahead_keeps_no_later_one_away(tmp_path: Path) -> None:
    url, _ = _stored(tmp_path)
    garbage.collect(opening.open_store(url), KEYS, lambda: time.time() + 1e8, 60.0)
    assert collector.collect(url, 60.0, fresh_s=3600.0).state is State.DONE
    assert collector.collect(url, 60.0, fresh_s=3600.0).state is State.SKIPPED


def test_a_run_is_ended_with_volumed(tmp_path: Path) -> None:
    """Its store never answers: told to stop, it is killed; nothing is left of it."""
    (tmp_path / "store").mkdir()
    os.mkfifo(tmp_path / "store" / garbage.RECORD)
    stop = threading.Event()
    stop.set()
    done = collector.run_child(Schedule(f"file://{tmp_path}/store", 3600.0, 60.0), stop)
    assert done.state is State.FAILED
    assert "-9" in (done.error or "")


def test_of_two_at_once_one_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, _ = _stored(tmp_path)
    decide = garbage.decide

    def decide_late(*arguments: object) -> garbage.Plan:
        monkeypatch.setattr(garbage, "decide", decide)
        assert collector.collect(url, 60.0, 0).state is State.DONE  # the other host, in between
        return decide(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(garbage, "decide", decide_late)
    assert collector.collect(url, 60.0, 0).state is State.BUSY


def test_a_store_that_cannot_be_read_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    url, _ = _stored(tmp_path)
    (tmp_path / "store" / garbage.RECORD).write_text("{")
    failed = collector.collect(url, 60.0, 0)
    assert failed.state is State.FAILED
    assert "gc.json" in (failed.error or "")
    assert collector.collect("nonsense", 60.0, 0).state is State.FAILED
