"""Volumes of the Machines API as rows; the disks themselves are volumed's, under the same names.

Who has one is written down here, in the transaction in which a Machine comes to want it, so that two never have the
same. The size is what it is to have: a disk that is mounted has it with the next start of its Machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from ... import errors
from ...ids import MachineId, VolumeId
from . import events
from .database import Reader, Row, Taken, Transaction

CREATED = "created"
DESTROYING = "pending_destroy"


@dataclasses.dataclass(frozen=True)
class Volume:
    """`machine`: who has it."""

    id: VolumeId
    app: str
    name: str
    region: str
    state: str
    size_gb: int
    machine: MachineId | None
    snapshot_retention: int
    created_us: int


def add(tx: Transaction, volume: Volume) -> None:
    """Idempotent by id. `NotFound` when there is no such app."""
    if not tx.query("SELECT id FROM apps WHERE id = ?", (volume.app,)):
        raise errors.NotFound("app not found")
    row = dataclasses.asdict(volume)
    try:
        tx.execute(
            f"INSERT INTO fly_volumes ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
        )
    except Taken:
        return
    events.add(tx, "volume.recorded", f"volume/{volume.id}", {})


def find(reader: Reader, app: str, id: str) -> Volume:
    rows = reader.query("SELECT * FROM fly_volumes WHERE app = ? AND id = ?", (app, id))
    if not rows:
        raise errors.NotFound(f"volume not found: {id[:50]}")
    return _volume(rows[0])


def by_id(reader: Reader, id: str) -> Volume:
    rows = reader.query("SELECT * FROM fly_volumes WHERE id = ?", (id,))
    if not rows:
        raise errors.NotFound(f"volume not found: {id[:50]}")
    return _volume(rows[0])


def every(reader: Reader, app: str) -> list[Volume]:
    """The oldest first."""
    return [
        _volume(row) for row in reader.query("SELECT * FROM fly_volumes WHERE app = ? ORDER BY created_us, id", (app,))
    ]


def all_created(reader: Reader) -> list[Volume]:
    """Of every app."""
    return [_volume(row) for row in reader.query("SELECT * FROM fly_volumes WHERE state = ?", (CREATED,))]


def change(tx: Transaction, id: str, **columns: object) -> None:
    settings = ", ".join(f"{name} = ?" for name in columns)
    tx.execute(f"UPDATE fly_volumes SET {settings} WHERE id = ?", (*columns.values(), id))


def hold(tx: Transaction, machine: MachineId, app: str, wanted: Collection[str]) -> None:
    """The Machine has these from here on, and no others. `NotFound`; `StateError` for one that another Machine has."""
    for id in wanted:
        found = find(tx, app, id)
        if found.machine not in (None, machine):
            raise errors.StateError(f"volume {id} is attached to machine {found.machine}")
        if found.state != CREATED:
            raise errors.StateError(f"volume {id} is {found.state}")
    release(tx, machine)
    for id in wanted:
        change(tx, id, machine=machine)


def release(tx: Transaction, machine: MachineId) -> None:
    """Nothing is its any more."""
    tx.execute("UPDATE fly_volumes SET machine = NULL WHERE machine = ?", (machine,))


def mark(tx: Transaction, id: str) -> None:
    """It is about to go: nobody gets it. `StateError` while a Machine has it."""
    found = by_id(tx, id)
    if found.machine is not None:
        raise errors.StateError(f"volume {id} is attached to machine {found.machine}")
    change(tx, id, state=DESTROYING)


def delete(tx: Transaction, id: str) -> None:
    tx.execute("DELETE FROM fly_volumes WHERE id = ?", (id,))
    events.add(tx, "volume.destroyed", f"volume/{id}", {})


def _volume(row: Row) -> Volume:
    return Volume(
        id=VolumeId(row["id"]),
        app=row["app"],
        name=row["name"],
        region=row["region"],
        state=row["state"],
        size_gb=row["size_gb"],
        machine=None if row["machine"] is None else MachineId(row["machine"]),
        snapshot_retention=row["snapshot_retention"],
        created_us=row["created_us"],
    )
