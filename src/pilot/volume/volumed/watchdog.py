"""Finds disks whose requests nobody answers, before they hang the host.

A request that waits is normal; none being answered while some wait is not. What to do is decided here, from
observations:

    waiting and no progress for REPLACE_S   kill the worker: another takes over, and is sent the requests again
    ... for ABORT_S                         abort the FUSE connection: the disk's users get EIO, the host goes on

Typical causes: the worker is stopped, or waits in the kernel for memory that could only be freed by writing to its own
disk.
"""

from __future__ import annotations

import enum

import msgspec

REPLACE_S = 30.0
ABORT_S = 90.0


class Verdict(enum.Enum):
    """What to do about a disk."""

    FINE = "fine"
    REPLACE = "replace"
    ABORT = "abort"


class Observation(msgspec.Struct, frozen=True):
    """`waiting` requests (fusectl), and how many the workers of this disk ever answered (None: no answer from it)."""

    waiting: int
    answered: int | None


class Watch:
    """What was seen of one disk."""

    def __init__(self) -> None:
        self._answered: int | None = None
        self._stuck_since: float | None = None
        self._replaced = False

    def observe(self, now_s: float, seen: Observation) -> Verdict:
        """Judge the disk; `now_s` of a clock that never goes back."""
        progressed = seen.answered is not None and seen.answered != self._answered
        self._answered = seen.answered
        if seen.waiting == 0 or progressed or self._stuck_since is None:
            self._stuck_since = now_s if seen.waiting else None
            self._replaced = False
            return Verdict.FINE
        stuck_s = now_s - self._stuck_since
        if stuck_s >= ABORT_S:
            return Verdict.ABORT
        if stuck_s >= REPLACE_S and not self._replaced:
            self._replaced = True
            return Verdict.REPLACE
        return Verdict.FINE
