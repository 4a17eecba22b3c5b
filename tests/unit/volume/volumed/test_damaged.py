"""A disk that cannot be read fails alone: the other volumes are served, and nothing is removed because of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.volume import layout
from pilot.volume.client import VolumeClient
from pilot.volume.disk import meta
from pilot.volume.operator import upkeep
from pilot.volume.requests.base import A as Answered
from pilot.volume.requests.base import Request, answer_of, parse_answer
from pilot.volume.volumed import service, volumes

A, B, C, D = (VolumeId(name) for name in "abcd")
SIZE = 64 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[volumes.Volumes]:
    made = _start(tmp_path)
    yield made
    made.close()


def _start(tmp_path: Path) -> volumes.Volumes:
    return volumes.Volumes(str(tmp_path / "volumes"), cast(Any, None))  # nothing is attached: no zygote is needed


def _damage(store: volumes.Volumes, volume: VolumeId) -> Path:
    path = Path(store.shelf.path(store.shelf.disk_of(volume)))
    for leftover in ("meta.db-wal", "meta.db-shm"):
        (path / leftover).unlink(missing_ok=True)
    (path / "meta.db").write_bytes(b"this was a database once" * 1000)
    return path


def _of_another_build(store: volumes.Volumes, volume: VolumeId) -> None:
    with sqlite3.connect(Path(store.shelf.path(store.shelf.disk_of(volume))) / "meta.db") as database:
        database.execute("update fact set value='99', sum=? where key='format'", (meta._sum("format", "99"),))
    database.close()


def _client(store: volumes.Volumes) -> VolumeClient:
    """What an operator asks, without a socket."""

    class Client(VolumeClient):
        def _exchange(self, request: Request[Answered]) -> tuple[Answered, Sequence[int]]:
            answer, fds = service.Service(store).doers.do(None, request)
            assert isinstance(answer, answer_of(request))
            return answer, fds

    return Client("")


def test_the_others_are_served(store: volumes.Volumes, tmp_path: Path) -> None:
    for volume in (A, B, C):
        store.create(volume, SIZE)
    _damage(store, B)
    _of_another_build(store, C)
    again = _start(tmp_path)
    rows = {row.volume: row for row in _client(again).list()}
    assert (rows[A].damaged, rows[A].size_bytes) == (None, SIZE)
    assert "not a database" in str(rows[B].damaged)
    assert "is of format 99, this program knows 1" in str(rows[C].damaged)
    again.checkpoint(A, None, CheckpointId("v1"))
    again.fork(A, D, None)
    assert [row.id for row in again.checkpoints(A)] == ["v1"]


VERBS: dict[str, Callable[[volumes.Volumes], object]] = {
    "checkpoint": lambda store: store.checkpoint(B, None, None),
    "seal": lambda store: store.seal(B),
    "resize": lambda store: store.resize(B, 2 * SIZE),
    "fork": lambda store: store.fork(B, C, None),
}


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_says_why_and_what_to_do(store: volumes.Volumes, verb: str) -> None:
    store.create(B, SIZE)
    _damage(store, B)
    with pytest.raises(errors.HostError, match=r"meta\.db: file is not a database") as told:
        VERBS[verb](store)
    assert "pilot volume check" in str(told.value.hint)


def test_check_names_the_volume_and_what_to_do(store: volumes.Volumes, tmp_path: Path) -> None:
    for volume in (A, B, C):
        store.create(volume, SIZE)
    assert upkeep.check_host(_client(store), str(tmp_path), []) == [{"volumes": 3, "what": None}]
    _damage(store, B)
    _of_another_build(store, C)
    rows = {row["volume"]: row for row in upkeep.check_host(_client(store), str(tmp_path), [])}
    assert rows.keys() == {B, C}
    assert "adopt" in str(rows[B]["todo"])
    assert "import" in str(rows[B]["todo"])
    assert rows[C]["todo"] == layout.OTHER_BUILD


def test_a_damaged_volume_is_deleted_when_it_is_told(store: volumes.Volumes, tmp_path: Path) -> None:
    store.create(B, SIZE)
    path = _damage(store, B)
    store.delete(B)
    assert not path.exists()
    assert store.list() == []


def test_what_a_damaged_fork_reads_stays(store: volumes.Volumes, tmp_path: Path) -> None:
    """Nobody knows whose fork it is, so the disk that has pinned something for it is kept, name or not."""
    store.create(A, SIZE)
    store.fork(A, B, None)
    source = Path(store.shelf.path(store.shelf.disk_of(A)))
    meta_db = Path(store.shelf.path(store.shelf.disk_of(B)), "meta.db")
    whole = meta_db.read_bytes()
    _damage(store, B)
    store.delete(A)
    _start(tmp_path)
    assert source.exists()
    meta_db.write_bytes(whole)  # somebody had a copy
    again = _start(tmp_path)
    assert [row.damaged for row in _client(again).list()] == [None]
    again.checkpoint(B, None, None)
    again.delete(B)
    assert not source.exists()


def test_a_sealed_base_stays_while_one_cannot_be_read(store: volumes.Volumes) -> None:
    for volume in (A, C):
        store.create(volume, SIZE)
        store.seal(volume)
    store.fork(A, B, None)
    source = Path(store.shelf.path(store.shelf.disk_of(A)))
    _damage(store, B)
    store.delete(A)
    assert source.exists()
    store.delete(B)
    store.delete(C)
    assert not source.exists()


def test_what_was_half_made_of_it_is_not_taken_for_deleted(store: volumes.Volumes, tmp_path: Path) -> None:
    store.create(B, SIZE)
    path = _damage(store, B)
    (tmp_path / "volumes" / "names" / B).unlink()  # a disk without a name, and nobody has deleted it
    _start(tmp_path)
    assert path.exists()


def test_a_client_of_an_older_build_leaves_out_what_it_does_not_know(store: volumes.Volumes) -> None:
    store.create(A, SIZE)

    class Later(VolumeClient):
        def _exchange(self, request: Request[Answered]) -> tuple[Answered, Sequence[int]]:
            rows = [{**structs.asdict(row), "of_a_later_build": 1} for row in store.list()]
            return parse_answer({"ok": True, "volumes": rows}, answer_of(request)), ()

    assert [row.volume for row in Later("").list()] == [A]
