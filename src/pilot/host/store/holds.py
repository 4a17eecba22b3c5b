"""Holds: why somebody wants a sprite to stay awake, by a name of theirs, perhaps for a time only."""

from __future__ import annotations

import dataclasses

from . import events
from .database import Reader, Row, Transaction


@dataclasses.dataclass(frozen=True)
class Hold:
    """`expires_us` None: until it is let go of."""

    sprite: str
    name: str
    since_us: int
    expires_us: int | None


def put(tx: Transaction, hold: Hold) -> None:
    """Made, or its end moved; one that has run out is made anew."""
    tx.execute("DELETE FROM holds WHERE sprite = ? AND expires_us <= ?", (hold.sprite, hold.since_us))
    tx.execute(
        """INSERT INTO holds (sprite, name, since_us, expires_us) VALUES (?, ?, ?, ?)
           ON CONFLICT (sprite, name) DO UPDATE SET expires_us = excluded.expires_us""",
        (hold.sprite, hold.name, hold.since_us, hold.expires_us),
    )
    events.add(tx, "hold.put", f"sprite/{hold.sprite}", {"hold": hold.name, "expires_us": hold.expires_us})


def release(tx: Transaction, sprite: str, name: str) -> bool:
    """Whether there was one."""
    released = bool(tx.execute("DELETE FROM holds WHERE sprite = ? AND name = ?", (sprite, name)))
    if released:
        events.add(tx, "hold.released", f"sprite/{sprite}", {"hold": name})
    return released


def release_all(tx: Transaction, sprite: str) -> None:
    """It is being destroyed."""
    tx.execute("DELETE FROM holds WHERE sprite = ?", (sprite,))


def active(reader: Reader, sprite: str, now_us: int) -> list[Hold]:
    """Of a sprite, those that have not run out, by name."""
    rows = reader.query(
        "SELECT * FROM holds WHERE sprite = ? AND (expires_us IS NULL OR expires_us > ?) ORDER BY name",
        (sprite, now_us),
    )
    return [_hold(row) for row in rows]


def forget_expired(tx: Transaction, before_us: int) -> None:
    tx.execute("DELETE FROM holds WHERE expires_us <= ?", (before_us,))


def _hold(row: Row) -> Hold:
    return Hold(row["sprite"], row["name"], row["since_us"], row["expires_us"])
