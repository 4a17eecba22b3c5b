"""Checkpoints as rows: `v1`, `v2`, … per sprite, never twice the same; automatic ones are `auto-…`, with number 0."""

from __future__ import annotations

import dataclasses
import re

from ... import errors
from ...ids import CheckpointId
from . import events
from .database import Database, Reader, Row, Transaction


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """`source`: the checkpoint that the disk had come from when this one was made. `name`: what people call it."""

    sprite: str
    id: CheckpointId
    number: int
    source: str | None
    comment: str
    is_auto: bool
    clean: bool
    frozen_ms: float
    created_us: int
    name: str | None = None


_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_ID = re.compile(r"v[0-9]+|auto-.*|current")


def is_name(text: str) -> bool:
    """Whether a checkpoint may be called so: in small letters, and not as any is called by itself."""
    return _NAME.fullmatch(text) is not None and _ID.fullmatch(text) is None


def is_taken(reader: Reader, sprite: str, name: str) -> bool:
    return bool(reader.query("SELECT 1 FROM checkpoints WHERE sprite = ? AND name = ?", (sprite, name)))


def reserve(tx: Transaction, sprite: str) -> int:
    """The next number of this sprite; it is used up even when no checkpoint comes of it."""
    rows = tx.query(
        "UPDATE sprites SET next_checkpoint = next_checkpoint + 1 WHERE id = ? RETURNING next_checkpoint", (sprite,)
    )
    if not rows:
        raise errors.NotFound("sprite not found")
    return int(rows[0]["next_checkpoint"]) - 1


def skip(tx: Transaction, sprite: str, number: int) -> None:
    """The number is used up, and all before it."""
    tx.execute(
        "UPDATE sprites SET next_checkpoint = ? WHERE id = ? AND next_checkpoint <= ?", (number + 1, sprite, number)
    )


def publish(tx: Transaction, checkpoint: Checkpoint) -> None:
    """Idempotent by (sprite, id)."""
    row = dataclasses.asdict(checkpoint)
    tx.execute(
        f"INSERT INTO checkpoints ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) ON CONFLICT DO NOTHING",
        tuple(row.values()),
    )
    events.add(tx, "checkpoint.published", f"sprite/{checkpoint.sprite}", {"checkpoint": checkpoint.id})


def publish_newest(tx: Transaction, checkpoint: Checkpoint) -> None:
    """Of what is there now: later than those before it, also when the clock was set back meanwhile. Idempotent."""
    rows = tx.query("SELECT max(created_us) AS at_us FROM checkpoints WHERE sprite = ?", (checkpoint.sprite,))
    created_us = max(checkpoint.created_us, (rows[0]["at_us"] or 0) + 1)
    publish(tx, dataclasses.replace(checkpoint, created_us=created_us))


def delete(tx: Transaction, sprite: str, checkpoint: str) -> None:
    tx.execute("DELETE FROM checkpoints WHERE sprite = ? AND id = ?", (sprite, checkpoint))
    events.add(tx, "checkpoint.deleted", f"sprite/{sprite}", {"checkpoint": checkpoint})


def delete_unnamed(tx: Transaction, sprite: str, checkpoint: str) -> None:
    """Unless somebody has named it."""
    if tx.query("SELECT 1 FROM checkpoints WHERE sprite = ? AND id = ? AND name IS NULL", (sprite, checkpoint)):
        delete(tx, sprite, checkpoint)


def every(database: Database, sprite: str) -> list[Checkpoint]:
    """Newest first."""
    rows = database.query("SELECT * FROM checkpoints WHERE sprite = ? ORDER BY created_us DESC, number DESC", (sprite,))
    return [_checkpoint(row) for row in rows]


def count_wanted(reader: Reader, sprite: str) -> int:
    """But those that pilotd has made by itself."""
    [row] = reader.query("SELECT count(*) AS found FROM checkpoints WHERE sprite = ? AND NOT is_auto", (sprite,))
    return int(row["found"])


def rename(tx: Transaction, sprite: str, checkpoint: str, name: str | None) -> None:
    """Another one of the sprite that was called so is not any more. `NotFound`."""
    tx.execute(
        "UPDATE checkpoints SET name = NULL WHERE sprite = ? AND name = ? AND id != ?", (sprite, name, checkpoint)
    )
    if not tx.execute("UPDATE checkpoints SET name = ? WHERE sprite = ? AND id = ?", (name, sprite, checkpoint)):
        raise errors.NotFound("checkpoint not found")
    events.add(tx, "checkpoint.renamed", f"sprite/{sprite}", {"checkpoint": checkpoint, "name": name})


def find(reader: Reader, sprite: str, checkpoint: str) -> Checkpoint:
    """By its id, or by its name, which is never like an id (`is_name`)."""
    where = "sprite = ? AND (id = ? OR name = ?)"
    rows = reader.query(f"SELECT * FROM checkpoints WHERE {where}", (sprite, checkpoint, checkpoint))
    if not rows:
        raise errors.NotFound("checkpoint not found")
    return _checkpoint(rows[0])


def _checkpoint(row: Row) -> Checkpoint:
    values = {field.name: row[field.name] for field in dataclasses.fields(Checkpoint)}
    return Checkpoint(**values | {"is_auto": bool(values["is_auto"]), "clean": bool(values["clean"])})
