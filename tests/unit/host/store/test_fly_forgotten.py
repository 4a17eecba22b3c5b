"""Machines that were destroyed are not read with the others, and are forgotten after a while."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from tests.support.host import HostUnderTest

from pilot import errors
from pilot.host.services import retention
from pilot.host.store import fly
from pilot.host.store.fly import App, Machine
from pilot.host.store.journal import now_us
from pilot.ids import MachineId


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    with under_test.database.transaction() as tx:
        fly.add_app(tx, App("app", under_test.organisation.id, "app", "default", 0))
    for id, state in (("a", "started"), ("b", "destroyed"), ("c", "stopped")):
        machine = Machine(
            MachineId(id), "app", id, "local", "created", "1", {"image": "box"}, {}, (), cordoned=False, lease=None,
            created_us=0, updated_us=0,
        )  # fmt: skip
        with under_test.database.transaction() as tx:
            fly.add(tx, machine)
            fly.enter(tx, id, state, state, "flyd")
    yield under_test
    under_test.close()


def test_those_that_are_there(host: HostUnderTest) -> None:
    assert [each.id for each in fly.undestroyed(host.database, "app")] == ["a", "c"]
    assert [each.id for each in fly.every(host.database, "app")] == ["a", "b", "c"]


def test_the_destroyed_ones_alone_are_forgotten_with_their_history(host: HostUnderTest) -> None:
    retention.forget(host.database, now_us())
    assert [each.id for each in fly.every(host.database, "app")] == ["a", "b", "c"]
    retention.forget(host.database, now_us() + (retention.DESTROYED_S + 60) * 1_000_000)
    assert [each.id for each in fly.every(host.database, "app")] == ["a", "c"]
    with pytest.raises(errors.NotFound):
        fly.by_id(host.database, "b")
    assert (fly.happened(host.database, "b"), fly.versions(host.database, "b")) == ([], [])
