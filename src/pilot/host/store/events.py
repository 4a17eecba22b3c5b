"""What happened, in order: one row per event, written in the transaction of the change that it tells of."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from .database import Transaction


def add(tx: Transaction, kind: str, subject: str, detail: Mapping[str, Any]) -> None:
    """`subject` reads as kind/id, as in `sprite/3f…`."""
    tx.execute(
        "INSERT INTO events (at_us, kind, subject, detail) VALUES (?, ?, ?, ?)",
        (time.time_ns() // 1000, kind, subject, json.dumps(detail)),
    )


def forget(tx: Transaction, before_us: int) -> None:
    """Drop the events from before `before_us`."""
    tx.execute("DELETE FROM events WHERE at_us < ?", (before_us,))
