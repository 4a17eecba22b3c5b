"""The user's world, while it runs and without one; and the end of the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ... import errors
from ...wire import operations
from .. import expect
from ..promise import Promise, World
from ..subject import Subject
from . import rows

_PAUSE_S = 0.1
_DISK = {"disk": {"descriptor": "conformance-none"}}


def promises() -> Iterator[Promise]:
    """Of a world that runs. Whether one can be made is up to who has a disk."""
    yield rows.repeated(operations.START_WORLD, "one that runs goes on", world=World.RUNNING, json=_DISK)
    yield Promise("freezeWorld", "held until thawed, and only once", _freeze, World.RUNNING, statuses=(409, 412))
    yield Promise("thawWorld", "what is not frozen cannot have held", _thaw, statuses=(412,))


def endings() -> Iterator[Promise]:
    """What takes the world away, and what is so without one."""
    yield Promise("stopWorld", "nothing runs afterwards, again and again", _stop, uses_up=True)
    yield rows.refusal(
        operations.START_WORLD, "a disk is named in exactly one way", 400, "invalid_argument",
        json={"disk": {}}, world=World.ABSENT,
    )  # fmt: skip
    yield rows.refusal(
        operations.START_WORLD, "a descriptor that was not sent is not found", 404, "not_found",
        json=_DISK, world=World.ABSENT,
    )  # fmt: skip


def last() -> Iterator[Promise]:
    """What takes the machine away."""
    yield Promise("shutdown", "it is done once it was answered", _shutdown, uses_up=True)


def _freeze(subject: Subject) -> None:
    def ask() -> bool:
        answer = subject.ask(operations.FREEZE_WORLD, json={"deadline_ms": 5000})
        return expect.answered(operations.FREEZE_WORLD, answer, subject.isolation).frozen

    expect.that(ask(), "frozen was meant")
    try:
        expect.refused(subject.ask(operations.FREEZE_WORLD), 409, "already_exists")
    finally:
        thawed = expect.answered(operations.THAW_WORLD, subject.ask(operations.THAW_WORLD), subject.isolation)
    expect.that(thawed.held and not thawed.frozen, f"a freeze that had held was meant: {thawed}")


def _thaw(subject: Subject) -> None:
    thawed = expect.answered(operations.THAW_WORLD, subject.ask(operations.THAW_WORLD), subject.isolation)
    expect.that(not thawed.held and not thawed.frozen, f"nothing frozen was meant: {thawed}")


def _stop(subject: Subject) -> None:
    for _ in range(2):
        answer = subject.ask(operations.STOP_WORLD)
        stopped = expect.answered(operations.STOP_WORLD, answer, subject.isolation)
        expect.that(stopped.status == "none" and stopped.pid is None, f"no world was meant: {stopped}")
    expect.that(subject.status().world == "none", "status world none was meant")


def _shutdown(subject: Subject) -> None:
    expect.answered(operations.SHUTDOWN, subject.ask(operations.SHUTDOWN), subject.isolation)
    end_s = time.monotonic() + subject.timeout_s
    while time.monotonic() < end_s:
        try:
            if subject.status().state == "draining":
                return
        except (OSError, errors.PeerError):
            return  # it is gone
        time.sleep(_PAUSE_S)
    raise expect.Unmet("it goes on as if nothing had been asked")
