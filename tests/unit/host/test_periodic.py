"""Duties that follow what is told, and end with their block."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pilot.host import periodic

WAIT_S = 60


def _noted(done: threading.Semaphore) -> Callable[[], None]:
    def duty() -> None:
        done.release()

    return duty


def test_a_duty_follows_each_change_until_the_block_ends() -> None:
    told: list[Callable[[], None]] = []
    done = threading.Semaphore(0)

    def watch(tell: Callable[[], None]) -> Callable[[], None]:
        told.append(tell)
        return told.clear

    with periodic.after_changes(watch, "followed", _noted(done), least_s=0, most_s=10 * WAIT_S):
        assert done.acquire(timeout=WAIT_S), "at once"
        told[0]()
        assert done.acquire(timeout=WAIT_S), "after a change"
    assert not told
    assert "followed" not in {each.name for each in threading.enumerate()}


def test_a_duty_is_done_again_when_nothing_is_told() -> None:
    done = threading.Semaphore(0)
    with periodic.after_changes(lambda _: lambda: None, "alone", _noted(done), least_s=0, most_s=0.001):
        for _ in range(3):
            assert done.acquire(timeout=WAIT_S)
