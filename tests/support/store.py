"""Waiting for what other processes do, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_TIMEOUT_S = 60.0


def wait_for(what: Callable[[], T | None]) -> T:
    """Ask until the answer is something; AssertionError after a minute."""
    end = time.monotonic() + _TIMEOUT_S
    while not (found := what()):
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.01)
    return found
