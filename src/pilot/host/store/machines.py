"""Machines as rows: of which isolation, how large, and which of the host's uids are theirs."""

from __future__ import annotations

import dataclasses

from ... import errors
from ...ids import MachineId
from . import networks
from .database import Database, Row, Transaction
from .journal import now_us

UID_COUNT = 65536
LAST_UID_BASE = 1 << 31
FIRST_UID_BASE = 2 * UID_COUNT  # the first multiple of 65536 above 100000, where distributions begin


_RESIZE = "UPDATE machines SET memory_bytes = ?, cpus = ?, pids = ? WHERE id = ? RETURNING *"
_ASSIGN = """INSERT INTO machines (id, isolation, uid_base, memory_bytes, cpus, pids, created_us)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""


@dataclasses.dataclass(frozen=True)
class Machine:
    """`isolation` never changes; a size may, from one start to the next."""

    id: MachineId
    isolation: str
    uid_base: int
    memory_bytes: int
    cpus: int
    pids: int


def assign(tx: Transaction, id: MachineId, isolation: str, memory_bytes: int, cpus: int, pids: int) -> Machine:
    """The machine's row, with the lowest range of uids that is free. Idempotent; a size that is new is written."""
    while True:
        rows = tx.query(_RESIZE, (memory_bytes, cpus, pids, id))
        if rows:
            return _machine(rows[0])
        base = _free_uids(tx)
        if tx.execute(_ASSIGN, (id, isolation, base, memory_bytes, cpus, pids, now_us())):
            return Machine(id, isolation, base, memory_bytes, cpus, pids)
        # Somebody has taken those uids since they were looked for.


def _free_uids(tx: Transaction) -> int:
    taken = {row["uid_base"] for row in tx.query("SELECT uid_base FROM machines")}
    free = (base for base in range(FIRST_UID_BASE, LAST_UID_BASE, UID_COUNT) if base not in taken)
    try:
        return next(free)
    except StopIteration:
        raise errors.HostError("make a machine: all uids are given out", hint="destroy what is not needed") from None


def delete(tx: Transaction, id: MachineId | None) -> None:
    """With its network's."""
    networks.delete(tx, id)
    tx.execute("DELETE FROM machines WHERE id = ?", (id,))


def find(database: Database, id: MachineId) -> Machine:
    rows = database.query("SELECT * FROM machines WHERE id = ?", (id,))
    if not rows:
        raise errors.NotFound(f"find machine {id}: there is none")
    return _machine(rows[0])


def every(database: Database) -> list[Machine]:
    return [_machine(row) for row in database.query("SELECT * FROM machines ORDER BY id")]


def _machine(row: Row) -> Machine:
    return Machine(
        MachineId(row["id"]), row["isolation"], row["uid_base"], row["memory_bytes"], row["cpus"], row["pids"]
    )
