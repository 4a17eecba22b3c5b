"""Secrets of apps as rows: sealed (`fly.vault`), with a digest that tells one value from another and nothing else.

Each change of an app's secrets has a number; it is told as their version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ...ids import MachineId
from .database import Reader, Transaction
from .journal import now_us


@dataclasses.dataclass(frozen=True)
class Secret:
    name: str
    sealed: str
    digest: str
    created_us: int
    updated_us: int


def every(reader: Reader, app: str) -> list[Secret]:
    """By name."""
    rows = reader.query(
        "SELECT name, sealed, digest, created_us, updated_us FROM fly_secrets WHERE app = ? ORDER BY name", (app,)
    )
    return [Secret(row["name"], row["sealed"], row["digest"], row["created_us"], row["updated_us"]) for row in rows]


def version(reader: Reader, app: str) -> int:
    """The number of the last change."""
    rows = reader.query("SELECT secrets_version FROM apps WHERE id = ?", (app,))
    return int(rows[0]["secrets_version"]) if rows else 0


def of_started(reader: Reader) -> dict[MachineId, int]:
    """Of each Machine that is started, the number of the last change of its app's secrets."""
    rows = reader.query(
        "SELECT fly_machines.id, apps.secrets_version FROM fly_machines JOIN apps ON apps.id = fly_machines.app "
        "WHERE fly_machines.state = 'started'"
    )
    return {MachineId(row["id"]): int(row["secrets_version"]) for row in rows}


def change(tx: Transaction, app: str, wanted: Mapping[str, tuple[str, str] | None]) -> int:
    """Each is (sealed, digest) from here on, or gone; the version that this is."""
    now = now_us()
    for name, value in wanted.items():
        if value is None:
            tx.execute("DELETE FROM fly_secrets WHERE app = ? AND name = ?", (app, name))
            continue
        tx.execute(
            """INSERT INTO fly_secrets (app, name, sealed, digest, created_us, updated_us) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (app, name) DO UPDATE SET sealed = excluded.sealed, digest = excluded.digest,
            updated_us = excluded.updated_us""",
            (app, name, *value, now, now),
        )
    return count_change(tx, app)


def count_change(tx: Transaction, app: str) -> int:
    """The number of this change."""
    rows = tx.query(
        "UPDATE apps SET secrets_version = secrets_version + 1 WHERE id = ? RETURNING secrets_version", (app,)
    )
    tx.announce()
    return int(rows[0]["secrets_version"])


def forget(tx: Transaction, app: str) -> None:
    """Of an app that goes."""
    tx.execute("DELETE FROM fly_secrets WHERE app = ?", (app,))
