"""Who has a volume of the Machines API: one Machine at most, whatever comes at the same time."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from pilot import errors
from pilot.host.store import fly, fly_volumes, tokens
from pilot.host.store.fly import App, Machine
from pilot.host.store.fly_volumes import Volume
from pilot.host.store.sqlite import SqliteDatabase
from pilot.ids import MachineId, VolumeId

_ONE, _OTHER = MachineId("01"), MachineId("02")


@pytest.fixture
def database(tmp_path: pathlib.Path) -> Iterator[SqliteDatabase]:
    made = SqliteDatabase(str(tmp_path / "state.db"))
    organisation = tokens.ensure_organisation(made, "local")
    with made.transaction() as tx:
        for app in ("app", "elsewhere"):
            fly.add_app(tx, App(app, organisation.id, app, "default", 0))
        for machine in (_ONE, _OTHER):
            fly.add(tx, _machine(machine))
        for number in range(3):
            fly_volumes.add(tx, _volume(f"vol_{number}"))
    yield made
    made.close()


def _machine(id: MachineId) -> Machine:
    return Machine(
        id, "app", id, "local", "created", "1", {"image": "box"}, {}, (), cordoned=False, lease=None, created_us=0,
        updated_us=0,
    )  # fmt: skip


def _volume(id: str) -> Volume:
    return Volume(VolumeId(id), "app", "data", "local", fly_volumes.CREATED, 1, None, 5, 0)


def _hold(database: SqliteDatabase, machine: MachineId, *wanted: str, app: str = "app") -> None:
    with database.transaction() as tx:
        fly_volumes.hold(tx, machine, app, wanted)


def _held(database: SqliteDatabase) -> dict[str, str | None]:
    return {row.id: row.machine for row in fly_volumes.every(database, "app")}


def test_exactly_those_that_it_wants(database: SqliteDatabase) -> None:
    _hold(database, _ONE, "vol_0", "vol_1")
    _hold(database, _ONE, "vol_1", "vol_2")
    assert _held(database) == {"vol_0": None, "vol_1": _ONE, "vol_2": _ONE}
    with database.transaction() as tx:
        fly_volumes.release(tx, _ONE)
    assert set(_held(database).values()) == {None}


def test_not_what_another_one_has(database: SqliteDatabase) -> None:
    _hold(database, _ONE, "vol_0")
    with pytest.raises(errors.StateError, match="attached to machine 01"):
        _hold(database, _OTHER, "vol_1", "vol_0")
    assert _held(database) == {"vol_0": _ONE, "vol_1": None, "vol_2": None}


def test_not_what_is_of_another_app_or_goes(database: SqliteDatabase) -> None:
    for app, id in (("elsewhere", "vol_0"), ("app", "vol_9")):
        with pytest.raises(errors.NotFound):
            _hold(database, _ONE, id, app=app)
    with database.transaction() as tx:
        fly_volumes.mark(tx, "vol_0")
    with pytest.raises(errors.StateError):
        _hold(database, _ONE, "vol_0")


def test_what_somebody_has_does_not_go(database: SqliteDatabase) -> None:
    _hold(database, _ONE, "vol_0")
    with pytest.raises(errors.StateError), database.transaction() as tx:
        fly_volumes.mark(tx, "vol_0")
    assert fly_volumes.by_id(database, "vol_0").state == fly_volumes.CREATED


def test_an_app_goes_after_its_volumes(database: SqliteDatabase) -> None:
    with database.transaction() as tx:
        for machine in (_ONE, _OTHER):
            fly.enter(tx, machine, fly.DESTROYED, "destroy", "flyd")
    with pytest.raises(errors.StateError), database.transaction() as tx:
        fly.delete_app(tx, "app")
    with database.transaction() as tx:
        for number in range(3):
            fly_volumes.delete(tx, f"vol_{number}")
        fly.delete_app(tx, "app")
