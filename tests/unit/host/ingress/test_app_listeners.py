"""The ports that apps are listened at: so many of each, so that one app, or one organisation, leaves others some."""

from __future__ import annotations

from collections import Counter

from pilot.host.ingress.apps import listeners
from pilot.host.store import fly, tokens
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId
from tests.support.host import HostUnderTest


def _add_app(host: HostUnderTest, name: str, organisation: str, created_us: int) -> None:
    owner = tokens.ensure_organisation(host.database, organisation)
    with host.database.transaction() as tx:
        fly.add_app(tx, App(name, owner.id, name, "default", created_us))


def _add(host: HostUnderTest, app: str, id: str, first: int, last: int) -> None:
    config = {
        "image": "box",
        "services": [{"internal_port": 80, "ports": [{"start_port": first, "end_port": last}]}],
    }
    machine = Machine(
        MachineId(id), app, id, "local", "created", "1", config, {}, (), cordoned=False, lease=None, created_us=0,
        updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, machine)


def test_an_app_and_an_organisation_have_so_many(host: HostUnderTest) -> None:
    for number, (app, organisation) in enumerate([("a", "one"), ("b", "one"), ("c", "one"), ("d", "other")]):
        _add_app(host, app, organisation, number)
        _add(host, app, f"{app}1", 1, 700)
        _add(host, app, f"{app}2", 1001, 1700)
    found, cut = listeners.wanted(host.fly.ways)
    assert Counter(each.way.app.name for each in found.values()) == {"a": 1024, "b": 1024, "d": 1024}
    assert cut == {"a", "b", "c", "d"}


def test_all_that_is_within_the_bounds_is_wanted(host: HostUnderTest) -> None:
    _add_app(host, "a", "one", 0)
    _add(host, "a", "a1", 80, 81)
    _add(host, "a", "a2", 443, 443)
    found, cut = listeners.wanted(host.fly.ways)
    assert sorted(port for _, port, _ in found) == [80, 81, 443]
    assert cut == frozenset()
