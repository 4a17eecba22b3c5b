"""The sealed base volume of each image variant: what a new sprite's disk is a fork of."""

from __future__ import annotations

from ...ids import VolumeId
from .database import Database, Transaction
from .journal import now_us


def find(database: Database, variant: str) -> VolumeId | None:
    rows = database.query("SELECT volume FROM bases WHERE variant = ?", (variant,))
    return VolumeId(rows[0]["volume"]) if rows else None


def publish(tx: Transaction, variant: str, volume: VolumeId) -> None:
    """From here on forks use `volume`. An older base of the variant stays as long as a fork needs it."""
    tx.execute(
        """INSERT INTO bases (variant, volume, created_us) VALUES (?, ?, ?)
           ON CONFLICT (variant) DO UPDATE SET volume = excluded.volume, created_us = excluded.created_us""",
        (variant, volume, now_us()),
    )
