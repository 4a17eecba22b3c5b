"""What each sprite has used, by day (UTC), and where its machine's counters stood when they were last added up.

    usage_days       one row a sprite and day; it stays when the sprite is destroyed, until its day is forgotten
    usage_counters   of a sprite: what has been added already, so that a pilotd that is started anew goes on from there

A day is what the host's clock says when something is added: where that is set wrong, so is the day; nothing is counted
twice, and nothing else is forgotten for it, as days are kept by their number and not by their age.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools

from .database import Reader, Row, Transaction

MOST_DAYS = 400
MOST_ROWS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Counted:
    """What has been counted: `cpu_us` since the machine was started, bytes since it has its network, which is there
    when the machine is not."""

    cpu_us: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def since(self, before: Counted) -> Counted:
        """What came after `before`; of a machine, or of a network, all of it where that has counted from nothing
        since."""
        cpu_us = self.cpu_us - before.cpu_us
        sent_bytes, received_bytes = self.sent_bytes - before.sent_bytes, self.received_bytes - before.received_bytes
        if sent_bytes < 0 or received_bytes < 0:
            sent_bytes, received_bytes = self.sent_bytes, self.received_bytes
        return Counted(self.cpu_us if cpu_us < 0 else cpu_us, sent_bytes, received_bytes)

    def stopped(self) -> Counted:
        """Its machine does not run: the next one counts from nothing."""
        return dataclasses.replace(self, cpu_us=0)


@dataclasses.dataclass(frozen=True)
class Used:
    """`disk_bytes`: the most that was seen that day."""

    awake_us: int = 0
    counted: Counted = Counted()
    disk_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Day:
    """`day` reads as 2026-11-29; `name`: what the sprite was called then."""

    day: str
    sprite: str
    name: str
    used: Used


def day_of(at_us: int) -> str:
    return datetime.datetime.fromtimestamp(at_us // 1_000_000, datetime.UTC).date().isoformat()


def add(tx: Transaction, day: Day, organisation: str) -> None:
    """To what the sprite has used that day."""
    counted = day.used.counted
    tx.execute(
        """INSERT INTO usage_days (day, sprite, organisation, name, awake_us, cpu_us, sent_bytes, received_bytes,
               disk_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (day, sprite) DO UPDATE SET
               awake_us = usage_days.awake_us + excluded.awake_us,
               cpu_us = usage_days.cpu_us + excluded.cpu_us,
               sent_bytes = usage_days.sent_bytes + excluded.sent_bytes,
               received_bytes = usage_days.received_bytes + excluded.received_bytes,
               disk_bytes = CASE WHEN excluded.disk_bytes > usage_days.disk_bytes THEN excluded.disk_bytes
                   ELSE usage_days.disk_bytes END""",
        (
            *(day.day, day.sprite, organisation, day.name, day.used.awake_us),
            *(counted.cpu_us, counted.sent_bytes, counted.received_bytes, day.used.disk_bytes),
        ),
    )


def counters(reader: Reader) -> dict[str, Counted]:
    """By sprite."""
    rows = reader.query("SELECT * FROM usage_counters")
    return {row["sprite"]: _counted(row) for row in rows}


def put_counters(tx: Transaction, sprite: str, counted: Counted | None) -> None:
    """Added up to here; None: it has gone."""
    tx.execute("DELETE FROM usage_counters WHERE sprite = ?", (sprite,))
    if counted is not None:
        tx.execute(
            "INSERT INTO usage_counters (sprite, cpu_us, sent_bytes, received_bytes) VALUES (?, ?, ?, ?)",
            (sprite, *dataclasses.astuple(counted)),
        )


def of_sprite(reader: Reader, sprite: str, most: int) -> list[Day]:
    """The last `most` days that there are of it, the oldest first."""
    rows = reader.query("SELECT * FROM usage_days WHERE sprite = ? ORDER BY day DESC LIMIT ?", (sprite, most))
    return [_day(row) for row in reversed(rows)]


Place = tuple[str, str, str]  # day, name and id of a sprite
START: Place = ("", "", "")


def of_organisation(
    reader: Reader, organisation: str, most: int, after: Place = START, most_rows: int = MOST_ROWS
) -> list[Day]:
    """Of the last `most` days that there are of any of its sprites, destroyed ones too, what comes behind `after`; by
    day, then by name."""
    rows = reader.query(
        """SELECT * FROM usage_days WHERE organisation = ? AND day IN (
               SELECT DISTINCT day FROM usage_days WHERE organisation = ? ORDER BY day DESC LIMIT ?)
               AND (day, name, sprite) > (?, ?, ?)
           ORDER BY day, name, sprite LIMIT ?""",
        (organisation, organisation, most, *after, most_rows),
    )
    return [_day(row) for row in rows]


def forget(tx: Transaction, most_days: int = MOST_DAYS, most_rows: int = MOST_ROWS) -> None:
    """Keep so many days at most, and so many rows: whole days are dropped, the oldest first."""
    [row] = tx.query(
        "SELECT min(day) AS first FROM (SELECT DISTINCT day FROM usage_days ORDER BY day DESC LIMIT ?) AS kept",
        (most_days,),
    )
    tx.execute("DELETE FROM usage_days WHERE day < ?", (row["first"] or "",))
    days = tx.query("SELECT day, count(*) AS count FROM usage_days GROUP BY day ORDER BY day DESC")
    kept = itertools.accumulate(each["count"] for each in days)
    for each, rows in list(zip(days, kept, strict=True))[1:]:
        if rows > most_rows:
            tx.execute("DELETE FROM usage_days WHERE day <= ?", (each["day"],))
            return


def _day(row: Row) -> Day:
    return Day(row["day"], row["sprite"], row["name"], Used(row["awake_us"], _counted(row), row["disk_bytes"]))


def _counted(row: Row) -> Counted:
    return Counted(row["cpu_us"], row["sent_bytes"], row["received_bytes"])
