"""Machines as rows: of which isolation, how large, and which of the host's uids are theirs."""

from __future__ import annotations

import dataclasses
import sqlite3

from ... import errors
from ...ids import MachineId
from .database import Database, Row
from .journal import now_us

UID_COUNT = 65536
FIRST_UID_BASE = 2 * UID_COUNT  # the first multiple of 65536 above 100000, where distributions begin


@dataclasses.dataclass(frozen=True)
class Machine:
    """`isolation` never changes; a size may, from one start to the next."""

    id: MachineId
    isolation: str
    uid_base: int
    memory_bytes: int
    cpus: int


def assign(tx: sqlite3.Connection, id: MachineId, isolation: str, memory_bytes: int, cpus: int) -> Machine:
    """The machine's row, with the lowest range of uids that is free. Idempotent; a size that is new is written."""
    row = tx.execute("SELECT * FROM machines WHERE id = ?", (id,)).fetchone()
    if row is None:
        taken = {r["uid_base"] for r in tx.execute("SELECT uid_base FROM machines")}
        base = next(b for b in range(FIRST_UID_BASE, 1 << 31, UID_COUNT) if b not in taken)
        tx.execute(
            "INSERT INTO machines (id, isolation, uid_base, memory_bytes, cpus, created_us) VALUES (?, ?, ?, ?, ?, ?)",
            (id, isolation, base, memory_bytes, cpus, now_us()),
        )
        return Machine(id, isolation, base, memory_bytes, cpus)
    tx.execute("UPDATE machines SET memory_bytes = ?, cpus = ? WHERE id = ?", (memory_bytes, cpus, id))
    return dataclasses.replace(_machine(row), memory_bytes=memory_bytes, cpus=cpus)


def delete(tx: sqlite3.Connection, id: MachineId | None) -> None:
    tx.execute("DELETE FROM machines WHERE id = ?", (id,))


def find(database: Database, id: MachineId) -> Machine:
    rows = database.query("SELECT * FROM machines WHERE id = ?", (id,))
    if not rows:
        raise errors.NotFound(f"find machine {id}: there is none")
    return _machine(rows[0])


def every(database: Database) -> list[Machine]:
    return [_machine(row) for row in database.query("SELECT * FROM machines ORDER BY id")]


def _machine(row: Row) -> Machine:
    return Machine(MachineId(row["id"]), row["isolation"], row["uid_base"], row["memory_bytes"], row["cpus"])
