"""Webhooks as rows: where an organisation wants to be told what happens, and how far that has come.

What is to be delivered is kept nowhere: it is the events after `seq`.
"""

from __future__ import annotations

import dataclasses
import json

from ... import errors
from . import events
from .database import Reader, Row, Transaction


@dataclasses.dataclass(frozen=True)
class Webhook:
    """`sprite`: of whose name alone, and `kinds`: of which alone; None and none: everything of the organisation.

    `seq`: up to that event all has been delivered, or is not wanted. `attempts`: those of the next one that failed, the
    first of them at `failing_us`; it is tried again at `next_us`. `disabled`: why nothing is delivered any more.
    """

    id: str
    organisation: str
    url: str
    sealed: str
    sprite: str | None
    kinds: tuple[str, ...]
    description: str
    created_us: int
    seq: int
    attempts: int = 0
    failing_us: int | None = None
    next_us: int = 0
    error: str | None = None
    delivered_us: int | None = None
    disabled: str | None = None


def insert(tx: Transaction, webhook: Webhook, most: int) -> None:
    """`Conflict` when the organisation has `most` of them."""
    rows = tx.query("SELECT count(*) AS n FROM webhooks WHERE organisation = ?", (webhook.organisation,))
    if rows[0]["n"] >= most:
        raise errors.Conflict(f"there are {most} webhooks", hint="delete one")
    row = dataclasses.asdict(webhook) | {"kinds": json.dumps(webhook.kinds)}
    names, places = ", ".join(row), ", ".join("?" * len(row))
    tx.execute(f"INSERT INTO webhooks ({names}) VALUES ({places})", tuple(row.values()))
    _tell(tx, "webhook.created", webhook, {})  # not its URL: whoever reads events need not know it


def every(reader: Reader, organisation: str) -> list[Webhook]:
    rows = reader.query("SELECT * FROM webhooks WHERE organisation = ? ORDER BY created_us, id", (organisation,))
    return [_webhook(row) for row in rows]


def enabled(reader: Reader) -> list[Webhook]:
    """Of all organisations."""
    return [_webhook(row) for row in reader.query("SELECT * FROM webhooks WHERE disabled IS NULL ORDER BY id")]


def find(reader: Reader, organisation: str, id: str) -> Webhook:
    rows = reader.query("SELECT * FROM webhooks WHERE organisation = ? AND id = ?", (organisation, id))
    if not rows:
        raise errors.NotFound("webhook not found")
    return _webhook(rows[0])


def delete(tx: Transaction, organisation: str, id: str) -> None:
    """`NotFound` when the organisation has no such one."""
    webhook = find(tx, organisation, id)
    tx.execute("DELETE FROM webhooks WHERE id = ?", (webhook.id,))
    _tell(tx, "webhook.deleted", webhook, {})


def passed(tx: Transaction, id: str, seq: int) -> None:
    """What came up to that event is not wanted."""
    tx.execute("UPDATE webhooks SET seq = ? WHERE id = ? AND seq < ?", (seq, id, seq))


def delivered(tx: Transaction, id: str, seq: int, now_us: int) -> Webhook | None:
    """As it is now; None when it was deleted or disabled meanwhile."""
    rows = tx.query(
        """UPDATE webhooks SET seq = ?, attempts = 0, failing_us = NULL, next_us = 0, error = NULL, delivered_us = ?
           WHERE id = ? AND seq < ? RETURNING *""",
        (seq, now_us, id, seq),
    )
    return _webhook(rows[0]) if rows and rows[0]["disabled"] is None else None


def failed(tx: Transaction, id: str, error: str, now_us: int, next_us: int) -> None:
    tx.execute(
        """UPDATE webhooks SET attempts = attempts + 1, failing_us = coalesce(failing_us, ?), next_us = ?, error = ?
           WHERE id = ?""",
        (now_us, next_us, error, id),
    )


def disable(tx: Transaction, webhook: Webhook, why: str) -> None:
    """Nothing is delivered until it is enabled; told as an event."""
    if tx.execute("UPDATE webhooks SET disabled = ? WHERE id = ? AND disabled IS NULL", (why, webhook.id)):
        _tell(tx, "webhook.disabled", webhook, {"why": why})


def enable(tx: Transaction, webhook: Webhook) -> None:
    """It goes on where it stopped, at once."""
    changed = tx.execute(
        """UPDATE webhooks SET disabled = NULL, attempts = 0, failing_us = NULL, next_us = 0, error = NULL
           WHERE id = ? AND (disabled IS NOT NULL OR attempts > 0)""",
        (webhook.id,),
    )
    if changed:
        _tell(tx, "webhook.enabled", webhook, {})


def _tell(tx: Transaction, kind: str, webhook: Webhook, detail: dict[str, object]) -> None:
    events.add(tx, kind, f"webhook/{webhook.id}", detail, webhook.organisation)


def _webhook(row: Row) -> Webhook:
    values = {field.name: row[field.name] for field in dataclasses.fields(Webhook)}
    return Webhook(**values | {"kinds": tuple(json.loads(values["kinds"]))})
