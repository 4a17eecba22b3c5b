"""What time it is believed to be, as of when that was last written down, by what it is believed for."""

from __future__ import annotations

from .database import Reader, Transaction


def find(reader: Reader, name: str) -> int | None:
    """Microseconds since 1970."""
    rows = reader.query("SELECT at_us FROM clocks WHERE name = ?", (name,))
    return int(rows[0]["at_us"]) if rows else None


def write(tx: Transaction, name: str, at_us: int) -> None:
    tx.execute(
        "INSERT INTO clocks (name, at_us) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at_us = excluded.at_us",
        (name, at_us),
    )
