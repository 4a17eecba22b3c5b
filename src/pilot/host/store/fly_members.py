"""Members of the pool of Machines, as rows: machines that are nobody's yet, each with the roots that it was given."""

from __future__ import annotations

import dataclasses

import msgspec

from ...ids import MachineId
from .database import Reader, Row, Transaction
from .journal import now_us


@dataclasses.dataclass(frozen=True)
class Member:
    """`digests`: of the images that its roots are of, in their order."""

    machine: MachineId
    digests: tuple[str, ...]


def add(tx: Transaction, member: Member) -> None:
    """Idempotent."""
    tx.execute(
        "INSERT INTO fly_members (machine, digests, created_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (member.machine, msgspec.json.encode(member.digests).decode(), now_us()),
    )


def give_away(tx: Transaction, machine: str) -> None:
    """It is somebody's from here on, or has gone. Nothing for one that is no member."""
    tx.execute("DELETE FROM fly_members WHERE machine = ?", (machine,))


def find(reader: Reader, machine: str) -> Member | None:
    rows = reader.query("SELECT * FROM fly_members WHERE machine = ?", (machine,))
    return _member(rows[0]) if rows else None


def every(reader: Reader) -> list[Member]:
    """The oldest first."""
    return [_member(row) for row in reader.query("SELECT * FROM fly_members ORDER BY created_us, machine")]


def _member(row: Row) -> Member:
    return Member(MachineId(row["machine"]), msgspec.json.decode(row["digests"], type=tuple[str, ...]))
