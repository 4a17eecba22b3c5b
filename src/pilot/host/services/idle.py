"""The watch that lets sprites rest, and ends those whose time has come.

    running ── unused for warm_after_s ──► warm (frozen) ── for cold_after_s ──► cold (stopped)
            ◄──────────────── any use ────┴─────────────────────────────────────┘

What a sprite is used by is counted by `operations.uses`; what holds it besides (a hold, a task of its own) is asked
before it is frozen (`operations.rest`). `decide` is pure: rows, what the kernel says, and clocks that are passed in.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
from contextlib import AbstractContextManager

from ... import errors
from .. import periodic
from ..store.journal import now_us
from ..store.sprites import Sprite
from .sprites import Sprites

log = logging.getLogger(__name__)

WATCH_PERIOD_S = 1.0


@dataclasses.dataclass(frozen=True)
class Timing:
    """Of a sprite that has none of its own; 0 is never."""

    warm_after_s: float = 30.0
    cold_after_s: float = 300.0
    # Neither input nor output for so long, and whoever is attached to a terminal is let go of (`relay.worlds`).
    terminal_idle_s: float = 900.0

    def of(self, row: Sprite) -> Timing:
        own = row.lifecycle
        return Timing(
            self.warm_after_s if own.warm_after_s is None else own.warm_after_s,
            self.cold_after_s if own.cold_after_s is None else own.cold_after_s,
            self.terminal_idle_s if own.terminal_idle_s is None else own.terminal_idle_s,
        )


class Duty(enum.Enum):
    """What is to be done to a sprite now."""

    SLEEP = "sleep"
    STOP = "stop"
    DELETE = "delete"


_ON_EXPIRY = {"delete": Duty.DELETE, "stop": Duty.STOP, "suspend": Duty.SLEEP}
# The statuses in which there is nothing left to do.
_ALREADY: dict[Duty, frozenset[str]] = {
    Duty.DELETE: frozenset(),
    Duty.STOP: frozenset({"cold"}),
    Duty.SLEEP: frozenset({"warm", "cold"}),
}


@dataclasses.dataclass(frozen=True)
class Seen:
    """A sprite at one moment. `is_frozen` is asked of the kernel."""

    row: Sprite
    status: str
    is_frozen: bool
    idle_s: float


@dataclasses.dataclass(frozen=True)
class Due:
    """What is to be done now, why, and whether also to one that is in use."""

    duty: Duty
    why: str
    force: bool = False


def decide(seen: Seen, host: Timing, now_us: int) -> Due | None:
    """What is due."""
    if seen.row.phase != "live":
        return None
    return _expired(seen, now_us) or _rests(seen, host.of(seen.row), now_us)


def _expired(seen: Seen, now_us: int) -> Due | None:
    ours = seen.row.lifecycle
    if ours.expires_us is None or now_us < ours.expires_us:
        return None
    duty = _ON_EXPIRY[ours.on_expiry]
    if (duty is Duty.DELETE and ours.protected) or seen.status in _ALREADY[duty]:
        return None
    return Due(duty, "its deadline has passed", force=True)


def _rests(seen: Seen, timing: Timing, now_us: int) -> Due | None:
    if seen.status == "running" and timing.warm_after_s and seen.idle_s >= timing.warm_after_s:
        return Due(Duty.SLEEP, f"unused for {timing.warm_after_s:g} s")
    rested = seen.row.rested
    # As far in the time to come it was noted by a clock that was set back since.
    if seen.is_frozen and rested and timing.cold_after_s and abs(now_us - rested.at_us) >= timing.cold_after_s * 1e6:
        return Due(Duty.STOP, f"warm for {timing.cold_after_s:g} s")
    return None


class Watch:
    """One round at a time, by whoever calls `round`."""

    def __init__(self, sprites: Sprites, timing: Timing) -> None:
        self._sprites = sprites
        self._timing = timing

    def round(self, now_us: int) -> None:
        """Begin what is due; nothing is waited for."""
        for row in self._sprites.every():
            try:
                self._attend(row, now_us)
            except (errors.PilotError, OSError) as error:  # one sprite's trouble is not the others'
                log.warning("idle watch", extra={"sprite": row.name, "error": str(error)})

    def _attend(self, row: Sprite, now_us: int) -> None:
        due = decide(self._look(row), self._timing, now_us)
        if due is not None and (due.force or due.duty is not Duty.SLEEP or not self._sprites.holding.every(row)):
            self._begin(row, due)

    def _look(self, row: Sprite) -> Seen:
        status = self._sprites.status(row)
        is_frozen = status == "warm" and self._sprites.is_frozen(row)
        return Seen(row, status, is_frozen, self._sprites.idle_s(row) if status == "running" else 0.0)

    def _begin(self, row: Sprite, due: Due) -> None:
        log.info("sprite due", extra={"sprite": row.name, "duty": due.duty.value, "why": due.why})
        match due.duty:
            case Duty.SLEEP:
                self._sprites.sleep(row, due.why, force=due.force)
            case Duty.STOP:
                self._sprites.stop(row, due.why)
            case Duty.DELETE:
                self._sprites.destroy(row)


def watching(sprites: Sprites, timing: Timing) -> AbstractContextManager[None]:
    """A round each second, for as long as the block lasts."""
    watch = Watch(sprites, timing)
    return periodic.every(WATCH_PERIOD_S, "idle-watch", lambda: _round(watch))


def _round(watch: Watch) -> None:
    try:
        watch.round(now_us())
    except (errors.PilotError, OSError) as error:
        log.warning("idle watch", extra={"error": str(error)})
