"""When a disk counts as stuck."""

from __future__ import annotations

from pilot.volume.volumed.watchdog import ABORT_S, REPLACE_S, Observation, Verdict, Watch


def _judge(*steps: tuple[float, int, int | None]) -> list[str]:
    watch = Watch()
    return [watch.observe(at, Observation(waiting, answered)).value for at, waiting, answered in steps]


def test_idle_and_busy_disks_are_fine() -> None:
    assert _judge((0, 0, 5), (1000, 0, 5), (1001, 3, 5), (1002, 3, 9), (2000, 3, 12)) == ["fine"] * 5


def test_no_progress_replaces_once_and_then_aborts() -> None:
    assert _judge((0, 1, 7), (REPLACE_S, 1, 7), (REPLACE_S + 1, 1, None), (ABORT_S, 1, None)) == [
        "fine", "replace", "fine", "abort",
    ]  # fmt: skip


def test_progress_starts_the_clock_again() -> None:
    assert _judge((0, 1, 7), (REPLACE_S - 1, 1, 8), (REPLACE_S + 1, 1, 8))[-1] == "fine"


def test_a_silent_worker_with_requests_waiting_is_stuck() -> None:
    assert _judge((0, 1, None), (REPLACE_S, 2, None))[-1] == Verdict.REPLACE.value
