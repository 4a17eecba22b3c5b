"""Asks one promise after the other. Whatever a machine does, each ends with a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import h11

from .. import errors
from .expect import Precluded
from .promise import Promise, World
from .report import Outcome, Report, Result, group_of
from .subject import Subject

# So many without a word, one after the other, and nobody is asked any more.
MOST_SILENT = 4
GIVEN_UP = f"the machine had said nothing {MOST_SILENT} times in a row"
_BROKEN = (OSError, h11.ProtocolError, errors.PilotError, *errors.UNREADABLE)


class Run:
    """One run: what is known of the machine meanwhile. `told` hears of each result."""

    def __init__(self, subject: Subject, *, keep: bool, told: Callable[[Result], None] = lambda _: None) -> None:
        self._subject = subject
        self._keep = keep
        self._told = told
        self._world: World | None = None
        self._silent = 0

    def all(self, promises: Sequence[Promise]) -> Report:
        """Their results, in their order."""
        self._look()
        results = [self._one(promise) for promise in promises]
        return Report(isolation=self._subject.isolation, results=results)

    def _one(self, promise: Promise) -> Result:
        began_s = time.monotonic()
        outcome, why = self._outcome(promise)
        result = Result(
            group=group_of(promise.operation), operation=promise.operation, promise=promise.text,
            outcome=outcome, why=why, seconds=round(time.monotonic() - began_s, 3),
        )  # fmt: skip
        self._told(result)
        return result

    def _outcome(self, promise: Promise) -> tuple[Outcome, str]:
        if self._silent >= MOST_SILENT:
            return Outcome.UNMET, GIVEN_UP
        if promise.uses_up and self._keep:
            return Outcome.NOT_TRIED, "the machine is to be kept"
        if promise.world is not World.ANY and self._world is None:
            return Outcome.UNMET, "its status does not tell whether a world runs"
        if promise.world not in (World.ANY, self._world):
            return Outcome.NOT_TRIED, f"the world would have to be {promise.world.value}"
        try:
            return self._asked(promise)
        finally:
            if promise.uses_up or promise.operation == "startWorld":
                self._look()

    def _asked(self, promise: Promise) -> tuple[Outcome, str]:
        try:
            promise.ask(self._subject)
        except Precluded:
            self._silent = 0
            return Outcome.PRECLUDED, ""
        except _BROKEN as error:
            self._silent = self._silent + 1 if _is_silence(error) else 0
            return Outcome.UNMET, str(error) or type(error).__name__
        self._silent = 0
        return Outcome.MET, ""

    def _look(self) -> None:
        """What it says of itself; what it says wrongly is found by the promises about it."""
        try:
            status = self._subject.status()
        except _BROKEN:
            self._world = None
            return
        self._subject.isolation = status.isolation
        self._world = World.RUNNING if status.world == "running" else World.ABSENT


def _is_silence(error: BaseException) -> bool:
    return isinstance(error, OSError) or isinstance(error.__cause__, OSError)
