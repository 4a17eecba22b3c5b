"""What happened to Machines, asked of one or of all of an app: the same."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from tests.support.host import HostUnderTest

from pilot.host.operations.fly_requests import START
from pilot.host.store import fly
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    with under_test.database.transaction() as tx:
        for app in ("app", "other"):
            fly.add_app(tx, App(app, under_test.organisation.id, app, "default", 0))
    yield under_test
    under_test.close()


def _machine(id: str, app: str, **config: object) -> Machine:
    return Machine(
        MachineId(id), app, id, "local", "created", "1", {"image": "box", **config}, {}, (), cordoned=False,
        lease=None, created_us=0, updated_us=0,
    )  # fmt: skip


def test_of_all_as_of_each(host: HostUnderTest) -> None:
    with host.database.transaction() as tx:
        for id, app in (("a", "app"), ("b", "app"), ("c", "other")):
            fly.add(tx, _machine(id, app))
        for state in ("started", "stopped") * 3:
            fly.enter(tx, "a", state, "start", "flyd", {"state": state})
    for most in (1, 3, fly.MOST_EVENTS):
        found = fly.happened_of_all(host.database, "app", most)
        assert found == {id: fly.happened(host.database, id, most) for id in ("a", "b")}


def test_of_what_was_destroyed_only_where_it_is_asked_for(host: HostUnderTest) -> None:
    """An app may have many thousands of them."""
    with host.database.transaction() as tx:
        for id in ("here", "gone"):
            fly.add(tx, _machine(id, "app"))
        fly.enter(tx, "gone", fly.DESTROYED, "destroy", "flyd")
    assert set(fly.happened_of_all(host.database, "app")) == {"here"}
    assert set(fly.happened_of_all(host.database, "app", also_destroyed=True)) == {"here", "gone"}


def test_one_that_could_not_be_started_keeps_its_schedule(host: HostUnderTest) -> None:
    """From when it was to begin: it is tried again when it is due, and not at once."""
    with host.database.transaction() as tx:
        for id in ("a", "b"):
            fly.add(tx, _machine(id, "app", schedule="hourly"))
        fly.enter(tx, "a", "starting", "start", "flyd")
        fly.enter(tx, "a", "failed", START.name, "flyd", {"error": "the host has no room for it"})
    [(machine, began_us)] = fly.scheduled(host.database)
    assert (machine.id, began_us) == ("a", fly.happened(host.database, "a", 1)[0].at_us)
