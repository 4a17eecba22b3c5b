"""Secret keys of apps as rows: sealed (`fly.vault`), a row for each version. A row is never changed.

Each change of an app's keys counts as one of its secrets.
"""

from __future__ import annotations

import dataclasses

from . import fly_secrets
from .database import Reader, Row, Transaction
from .journal import now_us


@dataclasses.dataclass(frozen=True)
class SecretKey:
    """`public`: what others verify by; empty where there is no such thing."""

    label: str
    version: int
    kind: str
    sealed: str = dataclasses.field(repr=False)
    public: bytes
    created_us: int


def every(reader: Reader, app: str, label: str | None = None) -> list[SecretKey]:
    """By label, the newest version first; of one label, or of all."""
    rows = reader.query(
        "SELECT label, version, kind, sealed, public, created_us FROM fly_keys WHERE app = ? AND (? = 1 OR label = ?)"
        " ORDER BY label, version DESC",
        (app, int(label is None), label or ""),
    )
    return [_key(row) for row in rows]


def _key(row: Row) -> SecretKey:
    public = bytes.fromhex(row["public"])
    return SecretKey(row["label"], row["version"], row["kind"], row["sealed"], public, row["created_us"])


def begin(tx: Transaction, app: str) -> int:
    """The version of the app's secrets that this transaction makes. It holds the app's row from here on, so nobody else
    changes its keys until the end: what it reads of them is so."""
    return fly_secrets.count_change(tx, app)


def add(tx: Transaction, app: str, label: str, version: int, kind: str, sealed: str, public: bytes) -> None:
    """After `begin`. `Taken` when there is that version."""
    tx.execute(
        "INSERT INTO fly_keys (app, label, version, kind, sealed, public, created_us) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (app, label, version, kind, sealed, public.hex(), now_us()),
    )


def remove(tx: Transaction, app: str, label: str, version: int | None) -> int | None:
    """That version, or all. The version of the app's secrets that this makes; None when there was none."""
    gone = tx.execute(
        "DELETE FROM fly_keys WHERE app = ? AND label = ? AND (? = 1 OR version = ?)",
        (app, label, int(version is None), -1 if version is None else version),
    )
    return fly_secrets.count_change(tx, app) if gone else None


def forget(tx: Transaction, app: str) -> None:
    """Of an app that goes."""
    tx.execute("DELETE FROM fly_keys WHERE app = ?", (app,))
