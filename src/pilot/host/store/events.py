"""What happened, in order: one row per event, written in the transaction of the change that it tells of.

Who follows them remembers the number of the last one that it has seen, and is told of commits by `Database.watch`.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping

from .database import Reader, Row, Transaction

AT_ONCE = 1000


@dataclasses.dataclass(frozen=True)
class Event:
    """`subject` reads as kind/id, as in `sprite/3f…`; of a sprite, `sprite` is what it was called then."""

    seq: int
    at_us: int
    kind: str
    subject: str
    detail: Mapping[str, object]
    organisation: str | None = None
    sprite: str | None = None


def add(
    tx: Transaction, kind: str, subject: str, detail: Mapping[str, object], organisation: str | None = None
) -> None:
    """Written while the row that it is about is there: it keeps whose that was; of no sprite's it is said."""
    sprite = subject.removeprefix("sprite/")
    tx.execute(
        """INSERT INTO events (at_us, kind, subject, detail, organisation, sprite) VALUES (?, ?, ?, ?,
           coalesce((SELECT organisation FROM sprites WHERE id = ?), ?), (SELECT name FROM sprites WHERE id = ?))""",
        (time.time_ns() // 1000, kind, subject, json.dumps(detail), sprite, organisation, sprite),
    )
    tx.announce()


def since(reader: Reader, seq: int) -> list[Event]:
    """Those after the one with that number, oldest first; the first `AT_ONCE` of them."""
    rows = reader.query("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (seq, AT_ONCE))
    return [_event(row) for row in rows]


def _event(row: Row) -> Event:
    told = (row["seq"], row["at_us"], row["kind"], row["subject"], json.loads(row["detail"]))
    return Event(*told, row["organisation"], row["sprite"])


def oldest(reader: Reader) -> int:
    """The number of the first one that is kept; 0 when there is none."""
    [row] = reader.query("SELECT min(seq) AS seq FROM events")
    return row["seq"] or 0


def latest(reader: Reader) -> int:
    """The number of the last one; 0 when there is none."""
    [row] = reader.query("SELECT max(seq) AS seq FROM events")
    return row["seq"] or 0


def forget(tx: Transaction, before_us: int) -> None:
    """Drop the events from before `before_us`."""
    tx.execute("DELETE FROM events WHERE at_us < ?", (before_us,))
