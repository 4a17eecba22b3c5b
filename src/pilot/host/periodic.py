"""A small duty done again and again on a thread of its own, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def every(period_s: float, name: str, duty: Callable[[], None]) -> Iterator[None]:
    """Call `duty` at once and then `period_s` after each end; the thread is called `name` and has ended with the block.

    `duty` tells of its own errors: one that it raises ends the thread.
    """
    ended = threading.Event()
    worker = threading.Thread(target=_repeat, args=(period_s, duty, ended), name=name, daemon=True)
    worker.start()
    try:
        yield
    finally:
        ended.set()
        worker.join()


def _repeat(period_s: float, duty: Callable[[], None], ended: threading.Event) -> None:
    while True:
        duty()
        if ended.wait(period_s):
            return
