"""Which number an app's own address comes from: assigned when it is first needed, free again with the app, or when
there are no longer so many addresses."""

from __future__ import annotations

from ... import errors
from .database import Reader, Transaction


def assign(tx: Transaction, app: str, capacity: int) -> int:
    """The app's, or the lowest that is free. Idempotent. `HostError` when none of them is.

    Another writer may take the number between looking and inserting; then the next one is tried.
    """
    tx.execute("DELETE FROM app_addresses WHERE app = ? AND number > ?", (app, capacity))
    while (number := find(tx, app)) is None:
        free = _free(tx)
        if free > capacity:
            raise errors.HostError(
                f"give the app an address: all {capacity} are taken", hint="see pilotd serve --service-addresses"
            )
        tx.execute("INSERT INTO app_addresses (app, number) VALUES (?, ?) ON CONFLICT DO NOTHING", (app, free))
        tx.announce()
    return number


def find(reader: Reader | Transaction, app: str) -> int | None:
    rows = reader.query("SELECT number FROM app_addresses WHERE app = ?", (app,))
    return int(rows[0]["number"]) if rows else None


def forget(tx: Transaction, app: str) -> None:
    """Of an app that goes."""
    tx.execute("DELETE FROM app_addresses WHERE app = ?", (app,))


def _free(tx: Transaction) -> int:
    """One more than a number that is taken (or 0), and not taken itself."""
    rows = tx.query(
        """SELECT min(candidate) AS number FROM (SELECT 1 AS candidate UNION SELECT number + 1 FROM app_addresses) AS c
           WHERE candidate NOT IN (SELECT number FROM app_addresses)"""
    )
    return int(rows[0]["number"])
