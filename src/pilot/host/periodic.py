"""A small duty done again and again on a thread of its own, for as long as a block lasts.

`duty` tells of its own errors: one that it raises ends the thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def every(period_s: float, name: str, duty: Callable[[], None]) -> Iterator[None]:
    """Call `duty` at once and then `period_s` after each end; the thread, called `name`, has ended with the block."""
    ended = threading.Event()
    worker = threading.Thread(target=_repeat, args=(period_s, duty, ended), name=name, daemon=True)
    worker.start()
    try:
        yield
    finally:
        ended.set()
        worker.join()


@contextlib.contextmanager
def after_changes(
    watch: Callable[[Callable[[], None]], Callable[[], None]],
    name: str,
    duty: Callable[[], None],
    *,
    least_s: float,
    most_s: float,
) -> Iterator[None]:
    """The same after each change that `watch` tells of (as `Database.watch` does), `least_s` after the last end at the
    earliest, and `most_s` after it when nothing is told."""
    changed, ended = threading.Event(), threading.Event()
    stop = watch(changed.set)
    arguments = (duty, changed, ended, least_s, most_s)
    worker = threading.Thread(target=_follow, args=arguments, name=name, daemon=True)
    worker.start()
    try:
        yield
    finally:
        stop()
        ended.set()
        changed.set()
        worker.join()


def _follow(
    duty: Callable[[], None], changed: threading.Event, ended: threading.Event, least_s: float, most_s: float
) -> None:
    while not ended.is_set():
        changed.clear()
        duty()
        ended.wait(least_s)
        changed.wait(most_s)


def _repeat(period_s: float, duty: Callable[[], None], ended: threading.Event) -> None:
    while True:
        duty()
        if ended.wait(period_s):
            return
