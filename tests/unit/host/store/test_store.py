"""The store counts on no lock: what others write between two statements of ours is found out by writing."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from pilot import errors
from pilot.host.fsm.documents import Document
from pilot.host.fsm.journal import Record
from pilot.host.fsm.outcome import AlreadyActive
from pilot.host.store import checkpoints, machines, sprites, tokens
from pilot.host.store.database import Database, Row, Taken, Transaction
from pilot.host.store.journal import SqlJournal
from pilot.host.store.sqlite import SqliteDatabase
from pilot.ids import MachineId, RunId, SpriteName, VolumeId

WAIT_S = 20
Meddle = Callable[[Transaction], object]


class Contended:
    """A `Database` on which somebody else writes as soon as a transaction has read something, or before it writes."""

    def __init__(self, database: Database, *meddling: Meddle) -> None:
        self._database = database
        self._meddling = list(meddling)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Transaction]:
        with self._database.transaction(durable=durable) as tx:
            yield _Contended(tx, self._meddling)

    def write_surely(self, act: Meddle, *, durable: bool = True) -> None:
        self._database.write_surely(act, durable=durable)

    def query(self, sql: str, arguments: Sequence[Any] = ()) -> list[Row]:
        return self._database.query(sql, arguments)

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        return self._database.watch(tell)

    def refill(self) -> None:
        self._database.refill()

    def close(self) -> None:
        self._database.close()


class _Contended:
    def __init__(self, tx: Transaction, meddling: list[Meddle]) -> None:
        self._tx = tx
        self._meddling = meddling

    def execute(self, sql: str, arguments: Sequence[Any] = ()) -> int:
        self._meddle()
        return self._tx.execute(sql, arguments)

    def query(self, sql: str, arguments: Sequence[Any] = ()) -> list[Row]:
        rows = self._tx.query(sql, arguments)
        self._meddle()
        return rows

    def announce(self) -> None:
        self._tx.announce()

    def _meddle(self) -> None:
        if self._meddling:
            self._meddling.pop(0)(self._tx)


def _machine(tx: Transaction, id: str) -> machines.Machine:
    return machines.assign(tx, MachineId(id), "container", 1 << 30, 1, 4096)


def _sprite(database: Database, id: str, name: str = "web") -> sprites.Sprite:
    organisation = tokens.ensure_organisation(database, "local").id
    return sprites.Sprite(
        id=id,
        organisation=organisation,
        name=SpriteName(name),
        suffix="abcd",
        machine=None,
        volume=VolumeId(f"volume-{id}"),
        phase="creating",
        labels=(),
        url_settings=sprites.UrlSettings(),
        environment={},
        config=sprites.Config(),
        current_source=None,
        created_us=1,
        updated_us=1,
        last_running_us=None,
        last_warming_us=None,
    )


def test_uids_that_were_taken_meanwhile_are_not_given_out_again(database: Database) -> None:
    rivals: list[machines.Machine] = []
    contended = Contended(database, *(lambda tx, n=n: rivals.append(_machine(tx, f"rival-{n}")) for n in range(3)))
    with contended.transaction() as tx:
        mine = _machine(tx, "mine")
        assert _machine(tx, "mine") == mine, "an attempt that is repeated finds what it had"
    bases = {row.uid_base for row in machines.every(database)}
    assert len(bases) == len(rivals) + 1 == 4
    assert mine.uid_base not in {rival.uid_base for rival in rivals}


def test_a_name_that_was_taken_meanwhile_is_a_conflict(database: Database) -> None:
    mine, rival = _sprite(database, "mine"), _sprite(database, "rival")
    contended = Contended(database, lambda tx: sprites.insert(tx, rival))
    with pytest.raises(errors.Conflict, match="sprite already exists"), contended.transaction() as tx:
        sprites.insert(tx, mine)


def test_a_member_whose_new_name_was_taken_meanwhile_is_a_conflict(database: Database) -> None:
    mine, rival = _sprite(database, "mine"), _sprite(database, "rival")
    with database.transaction() as tx:
        sprites.insert(tx, dataclasses.replace(mine, name=SpriteName("member")))
    contended = Contended(database, lambda tx: sprites.insert(tx, rival))
    with pytest.raises(errors.Conflict, match="sprite already exists"), contended.transaction() as tx:
        sprites.take_over(tx, mine)
    assert sprites.by_id(database, "mine").name == "member"


def test_numbers_of_checkpoints_are_used_once(database: Database) -> None:
    sprite = _sprite(database, "s")
    with database.transaction() as tx:
        sprites.insert(tx, sprite)
    numbers: list[int] = []
    contended = Contended(database, *[lambda tx: numbers.append(checkpoints.reserve(tx, "s"))] * 3)
    with contended.transaction() as tx:
        numbers.append(checkpoints.reserve(tx, "s"))
        checkpoints.skip(tx, "s", 8)
        checkpoints.skip(tx, "s", 2)
        numbers.append(checkpoints.reserve(tx, "s"))
    assert len(set(numbers)) == len(numbers)
    assert numbers[-1] > 8, "the eighth was skipped, with all before it"
    with pytest.raises(errors.NotFound), database.transaction() as tx:
        checkpoints.reserve(tx, "nobody")


def _run(id: str) -> Record:
    return Record(RunId(id), "k", "a", "x", Document(1, {}), ("one",))


def test_of_two_runs_that_begin_at_once_one_is_told_of_the_other(database: Database) -> None:
    rival = SqlJournal(database)

    def meddle(tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO runs (id, kind, action, resource, request, names, started_us) VALUES (?, ?, ?, ?, ?, ?, ?)",
            ("rival", "k", "a", "x", "{}", "[]", 1),
        )

    mine = SqlJournal(Contended(database, meddle))
    with pytest.raises(AlreadyActive) as caught:
        mine.begin(_run("mine"))
    assert caught.value.run == "rival"
    rival.begin(_run("later"))


def test_a_unique_constraint_is_a_conflict_and_others_are_defects(database: Database) -> None:
    insert = "INSERT INTO organisations (id, slug, created_us) VALUES (?, ?, ?)"
    with database.transaction() as tx:
        tx.execute(insert, ("a", "acme", 1))
    for row in (("a", "other", 1), ("b", "acme", 1)):
        with pytest.raises(Taken), database.transaction() as tx:
            tx.execute(insert, row)
    with pytest.raises(Exception, match="NOT NULL") as caught, database.transaction() as tx:
        tx.execute(insert, ("c", None, 1))
    assert not isinstance(caught.value, errors.PilotError)
    assert len(database.query("SELECT * FROM organisations")) == 1


def test_readers_do_not_wait_for_one_another_nor_for_a_writer(database: Database) -> None:
    assert isinstance(database, SqliteDatabase)
    done = threading.Event()

    def read() -> None:
        database.query("SELECT * FROM sprites")
        done.set()

    with database._reader(), database.transaction():
        threading.Thread(target=read, name="reader").start()
        assert done.wait(WAIT_S)


def test_whose_machine_it_is_is_found_by_an_index(tmp_path: pathlib.Path) -> None:
    """Every machine may ask it, at any time, however many sprites there are."""
    database = SqliteDatabase(str(tmp_path / "state.db"))
    [step] = database.query(f"EXPLAIN QUERY PLAN {sprites.OF_MACHINE}", ("m1",))
    database.close()
    assert step["detail"] == "SEARCH sprites USING INDEX sprites_by_machine (machine=?)"
