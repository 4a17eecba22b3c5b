"""`fsm.journal.Journal` on the store's database."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable

from ... import errors
from ...ids import RunId
from ..fsm.documents import Document
from ..fsm.journal import Record
from ..fsm.outcome import AlreadyActive, Ending, Outcome
from . import events
from .database import Database, Row, Transaction

_BEGUN = """INSERT INTO runs (id, kind, action, resource, parent, version, request, names, started_us)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_ACTIVE = "SELECT id FROM runs WHERE kind = ? AND action = ? AND resource = ? AND finished_us IS NULL"
_COMPLETED = """INSERT INTO transitions (run, name, completed, attempts, version, result, at_us)
    VALUES (?, ?, 1, 1, ?, ?, ?)
    ON CONFLICT (run, name) DO UPDATE SET completed = 1, attempts = transitions.attempts + 1, error = NULL,
        version = excluded.version, result = excluded.result, at_us = excluded.at_us"""
_FAILED = """INSERT INTO transitions (run, name, completed, attempts, error, at_us) VALUES (?, ?, 0, ?, ?, ?)
    ON CONFLICT (run, name) DO UPDATE SET attempts = excluded.attempts, error = excluded.error,
        at_us = excluded.at_us"""


# What makes room has a claim on the space that is kept for it (`Database.write_surely`).
_FREEING = frozenset({"destroy"})


class SqlJournal:
    """Runs and their transitions as rows; begin and end also as events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, run: Record) -> None:
        def write(tx: Transaction) -> None:
            key = (run.id, run.kind, run.action, run.resource, run.parent, run.request.version)
            row = (*key, json.dumps(run.request.value), json.dumps(list(run.names)), now_us())
            while not tx.execute(_BEGUN, row):
                active = tx.query(_ACTIVE, (run.kind, run.action, run.resource))
                if active:
                    raise AlreadyActive(f"{run.action} {run.kind} {run.resource}: is under way", RunId(active[0]["id"]))
                # It has ended between the two statements.
            events.add(tx, f"{run.action}.begun", f"{run.kind}/{run.resource}", {"run": run.id})

        self._write(run, write)

    def active(self) -> list[Record]:
        rows = self._database.query("SELECT * FROM runs WHERE finished_us IS NULL ORDER BY id")
        return [self._record(row) for row in rows]

    def find(self, run: RunId) -> Record:
        rows = self._database.query("SELECT * FROM runs WHERE id = ?", (run,))
        if not rows:
            raise errors.NotFound(f"find run {run}: there is none")
        return self._record(rows[0])

    def child(self, parent: RunId, kind: str, action: str, resource: str) -> Record | None:
        rows = self._database.query(
            "SELECT * FROM runs WHERE parent = ? AND kind = ? AND action = ? AND resource = ?",
            (parent, kind, action, resource),
        )
        return self._record(rows[0]) if rows else None

    def completed(self, run: Record, name: str, result: Document) -> None:
        row = (run.id, name, result.version, json.dumps(result.value), now_us())
        self._write(run, lambda tx: tx.execute(_COMPLETED, row), durable=False)

    def failed(self, run: Record, name: str, attempt: int, error: str) -> None:
        with self._database.transaction(durable=False) as tx:
            tx.execute(_FAILED, (run.id, name, attempt, error, now_us()))

    def decided(self, run: Record, outcome: Outcome) -> None:
        # Whatever the run did: until it has ended, a destroy of the same sprite waits behind it.
        def write(tx: Transaction) -> None:
            tx.execute("UPDATE runs SET outcome = ? WHERE id = ?", (_outcome_text(outcome), run.id))
            detail = {"run": run.id, "ending": outcome.ending.value, "error": outcome.error}
            events.add(tx, f"{run.action}.decided", f"{run.kind}/{run.resource}", detail)

        self._database.write_surely(write)

    def finished(self, run: Record) -> None:
        update = "UPDATE runs SET finished_us = ? WHERE id = ?"
        self._database.write_surely(lambda tx: tx.execute(update, (now_us(), run.id)), durable=False)

    def _write(self, run: Record, act: Callable[[Transaction], object], *, durable: bool = True) -> None:
        if run.action in _FREEING:
            self._database.write_surely(act, durable=durable)
            return
        with self._database.transaction(durable=durable) as tx:
            act(tx)

    def _record(self, row: Row) -> Record:
        steps = self._database.query("SELECT * FROM transitions WHERE run = ?", (row["id"],))
        done = [step for step in steps if step["completed"]]
        return Record(
            id=RunId(row["id"]),
            kind=row["kind"],
            action=row["action"],
            resource=row["resource"],
            request=Document(row["version"], json.loads(row["request"])),
            names=tuple(json.loads(row["names"])),
            parent=row["parent"],
            results={step["name"]: Document(step["version"], json.loads(step["result"])) for step in done},
            attempts={step["name"]: step["attempts"] for step in steps},
            outcome=_parse_outcome(row["outcome"]),
            finished=row["finished_us"] is not None,
        )


def _outcome_text(outcome: Outcome) -> str:
    fields = dataclasses.asdict(outcome) | {"ending": outcome.ending.value}
    del fields["results"]  # they are the transitions' rows
    return json.dumps(fields)


def _parse_outcome(text: str | None) -> Outcome | None:
    if text is None:
        return None
    fields = json.loads(text)
    return Outcome(**fields | {"ending": Ending(fields["ending"])})


def now_us() -> int:
    return time.time_ns() // 1000


def forget_finished(tx: Transaction, before_us: int) -> None:
    """Drop the runs that ended before `before_us`; their events stay."""
    # A parent that goes on looks for its children.
    active = "SELECT id FROM runs WHERE finished_us IS NULL"
    ended = f"SELECT id FROM runs WHERE finished_us < ? AND (parent IS NULL OR parent NOT IN ({active}))"
    tx.execute(f"DELETE FROM transitions WHERE run IN ({ended})", (before_us,))
    tx.execute(f"DELETE FROM runs WHERE id IN ({ended})", (before_us,))
