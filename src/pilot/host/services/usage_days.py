"""What sprites use, added up by day: how long each was awake, what its machine used meanwhile, and its disk.

    every LOOK_S     who is awake has been so since the last look (a clock that only goes forward says how long)
    every WRITE_S    what the machines of those have counted since the last time, and all of it into the database
    every day        how large each disk is, also those of sprites that rest

A sprite that rests costs nothing here. What is lost: of a pilotd that is killed what was not written yet (WRITE_S at
most), of a machine that is stopped at once what it did since the last time. One that goes cold by resting is frozen for
a while before, and loses nothing.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from ... import errors
from ...ids import VolumeId
from .. import periodic
from ..store import usage
from ..store.database import Database
from ..store.journal import now_us
from ..store.sprites import Sprite
from ..store.usage import Counted, Day, Used
from .sprites import Sprites

LOOK_S = 5.0
WRITE_S = 60.0
log = logging.getLogger(__name__)


class Measured(Protocol):
    """What is asked of sprites; it may block, and raise `PilotError` and `OSError`."""

    def every(self) -> Sequence[Sprite]: ...
    def is_ready(self, sprite: Sprite) -> bool: ...

    def counted(self, sprite: Sprite) -> Counted | None:
        """By its machine since that was started; None when it does not run."""
        ...

    def disk_bytes(self) -> Mapping[VolumeId, int]:
        """Of all disks."""
        ...


class Accounting:
    """One per pilotd; on one thread. `looked_s`: when it begins, by a clock that only goes forward."""

    def __init__(self, database: Database, measured: Measured, looked_s: float) -> None:
        self._database = database
        self._measured = measured
        self._counters = usage.counters(database)
        self._looked_s = self._written_s = looked_s
        self._awake: dict[str, tuple[Sprite, int]] = {}
        # Those at rest whose counters have been added up: a machine that is frozen counts nothing.
        self._settled: set[str] = set()
        self._disks_of = ""

    def look(self, now_s: float, at_us: int) -> None:
        """One round."""
        rows = self._measured.every()
        elapsed_us, self._looked_s = round((now_s - self._looked_s) * 1e6), now_s
        for row in filter(self._measured.is_ready, rows):
            self._awake[row.id] = (row, self._awake.get(row.id, (row, 0))[1] + elapsed_us)
        if now_s - self._written_s >= WRITE_S or self._disks_of != usage.day_of(at_us):
            self._write(rows, at_us)
            self._written_s = now_s

    def end(self, now_s: float, at_us: int) -> None:
        """The last round: all of it is written."""
        self._written_s = now_s - WRITE_S
        self.look(now_s, at_us)

    def _write(self, rows: Sequence[Sprite], at_us: int) -> None:
        """What has come up since the last time is in the database. Where that fails it is kept for the next one."""
        day = usage.day_of(at_us)
        disks = {} if day == self._disks_of else self._measured.disk_bytes()
        counted = dict(self._readings(rows))
        known = {row.id: row for row, _ in self._awake.values()} | {row.id: row for row in rows}
        with self._database.transaction(durable=False) as tx:
            for row in known.values():
                used = Used(self._awake.get(row.id, (row, 0))[1], self._more(row, counted), disks.get(row.volume, 0))
                if used != Used():
                    usage.add(tx, Day(day, row.id, row.name, used), row.organisation)
            for id, reading in counted.items():
                usage.put_counters(tx, id, reading)
        self._remember(rows, counted)
        self._disks_of = day

    def _readings(self, rows: Sequence[Sprite]) -> Iterator[tuple[str, Counted | None]]:
        """Counters by sprite, as far as they are others than before; None of sprites that are not there any more."""
        yield from ((id, None) for id in self._counters.keys() - {row.id for row in rows})
        for row in rows:
            if row.id in self._awake or (row.id in self._counters and row.id not in self._settled):
                try:
                    yield row.id, self._measured.counted(row) or self._before(row).stopped()
                except (errors.PilotError, OSError) as error:  # one sprite's trouble is not the others'
                    log.warning("usage not counted", extra={"sprite": row.name, "error": str(error)})
            elif self._before(row).cpu_us and row.rested is not None and row.rested.status == "cold":
                yield row.id, self._before(row).stopped()

    def _before(self, row: Sprite) -> Counted:
        return self._counters.get(row.id, Counted())

    def _more(self, row: Sprite, counted: Mapping[str, Counted | None]) -> Counted:
        reading = counted.get(row.id)
        return Counted() if reading is None else reading.since(self._before(row))

    def _remember(self, rows: Sequence[Sprite], counted: Mapping[str, Counted | None]) -> None:
        for id, reading in counted.items():
            if reading is None:
                self._counters.pop(id, None)
            else:
                self._counters[id] = reading
        at_rest = {row.id for row in rows if not self._measured.is_ready(row)}
        self._settled = at_rest & (self._settled | counted.keys()) & self._counters.keys()
        self._awake.clear()


class OfSprites:
    """`Measured`, of those of this pilotd."""

    def __init__(self, sprites: Sprites) -> None:
        self._sprites = sprites
        self.is_ready = sprites.is_ready
        self.counted = sprites.usages.counted
        self.disk_bytes = sprites.usages.disk_bytes

    def every(self) -> Sequence[Sprite]:
        """Not those that are nobody's yet."""
        return [row for row in self._sprites.every() if row.phase in ("live", "destroying")]


@contextlib.contextmanager
def watching(database: Database, sprites: Sprites) -> Iterator[None]:
    """Count, for as long as the block lasts."""
    accounting = Accounting(database, OfSprites(sprites), time.monotonic())
    with periodic.every(LOOK_S, "usage", lambda: _try(accounting.look)):
        yield
    _try(accounting.end)


def _try(round: Callable[[float, int], None]) -> None:
    try:
        round(time.monotonic(), now_us())
    except (errors.PilotError, OSError) as error:
        log.warning("usage not written", extra={"error": str(error)})
    except Exception:  # a fault of ours, with which counting must not end for good
        log.exception("usage not written")
