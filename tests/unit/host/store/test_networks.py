"""Rows of networks: numbers, policies, what goes with a machine."""

from __future__ import annotations

import pytest

from pilot import errors
from pilot.host.store import fly, machines, networks, sprites, tokens
from pilot.host.store.database import Database
from pilot.ids import MachineId, SpriteName, VolumeId


def number(database: Database, name: str, capacity: int = 10) -> int:
    with database.transaction() as tx:
        machine = machines.assign(tx, MachineId(name), "container", 1 << 30, 1, 4096)
        return networks.assign(tx, machine.id, capacity).number


def sprite(database: Database, organisation: str, name: str, private: str | None) -> MachineId:
    """With a machine of its own, in that private network."""
    machine = MachineId(f"{organisation}-{name}")
    number(database, machine)
    row = sprites.Sprite(
        id=f"sprite-{machine}", organisation=organisation, name=SpriteName(name), suffix="0000", machine=machine,
        volume=VolumeId(f"v-{machine}"), phase="live", labels=(), url_settings=sprites.UrlSettings(), environment={},
        config=sprites.Config(), current_source=None, created_us=1, updated_us=1, last_running_us=None,
        last_warming_us=None,
    )  # fmt: skip
    with database.transaction() as tx:
        sprites.insert(tx, row)
        networks.set_private(tx, machine, private)
    return machine


def test_peers_are_those_of_the_organisation_in_the_same_private_network(database: Database) -> None:
    ours, theirs = (tokens.ensure_organisation(database, slug).id for slug in ("ours", "theirs"))
    machines_of = {
        name: sprite(database, ours, name, private)
        for name, private in (("a", "shop"), ("b", "shop"), ("c", "other"), ("d", None), ("e", None))
    }
    sprite(database, theirs, "x", "shop")
    seen = {name: [peer.sprite for peer in networks.peers(database, machine)] for name, machine in machines_of.items()}
    assert seen == {"a": ["b"], "b": ["a"], "c": [], "d": [], "e": []}
    with database.transaction() as tx:
        networks.set_private(tx, machines_of["c"], "shop")
    assert [peer.network.machine for peer in networks.peers(database, machines_of["a"])] == [
        machines_of["b"],
        machines_of["c"],
    ]


def test_siblings_are_the_machines_of_an_app(database: Database) -> None:
    organisation = tokens.ensure_organisation(database, "ours").id
    with database.transaction() as tx:
        for name in ("shop", "other"):
            fly.add_app(tx, fly.App(name, organisation, name, "default", 0))
        for at_us, (id, app, state) in enumerate(
            [("a", "shop", "started"), ("b", "shop", "stopped"), ("c", "shop", "destroying"), ("d", "other", "started")]
        ):
            row = fly.Machine(
                MachineId(id), app, id, "local", state, "1", {}, {}, (), cordoned=False, lease=None, created_us=at_us,
                updated_us=0,
            )  # fmt: skip
            fly.add(tx, row)
    number(database, "a")
    found = networks.siblings(database, MachineId("b"))
    assert [(each.machine, each.app, each.runs, each.network is not None) for each in found] == [
        ("a", "shop", True, True), ("b", "shop", False, False),
    ]  # fmt: skip
    assert networks.siblings(database, MachineId("nobody")) == []
    assert fly.started_by_app(database) == {"shop": {"a"}, "other": {"d"}}


def test_the_lowest_number_that_is_free_is_given_and_kept(database: Database) -> None:
    assert [number(database, name) for name in "abc"] == [1, 2, 3]
    assert number(database, "b") == 2
    with database.transaction() as tx:
        machines.delete(tx, MachineId("b"))
    assert networks.find(database, MachineId("b")) is None
    assert number(database, "d") == 2
    assert number(database, "e") == 4
    with database.transaction() as tx:
        machines.delete(tx, MachineId("a"))
    assert number(database, "f") == 1


def test_a_range_that_is_full_says_so(database: Database) -> None:
    assert [number(database, name, 2) for name in "ab"] == [1, 2]
    with pytest.raises(errors.HostError, match="all 2 are taken"):
        number(database, "c", 2)


def test_a_number_that_is_somebody_elses_on_the_host_is_changed_for_a_free_one(database: Database) -> None:
    assert [number(database, name) for name in "ab"] == [1, 2]
    with database.transaction() as tx:
        assert networks.renumber(tx, MachineId("a"), 10, {1, 3}).number == 4
        with pytest.raises(errors.NotFound):
            networks.renumber(tx, MachineId("c"), 10, set())
    with pytest.raises(errors.HostError, match="all 4 are taken"), database.transaction() as tx:
        networks.renumber(tx, MachineId("b"), 4, {1, 3})
    assert number(database, "a") == 4


def test_each_change_of_a_policy_has_the_next_serial(database: Database) -> None:
    number(database, "a")
    rules = {"rules": [{"domain": "a.test", "action": "allow"}]}
    with database.transaction() as tx:
        assert networks.set_policy(tx, MachineId("a"), rules).serial == 2
    with database.transaction() as tx:
        assert networks.set_policy(tx, MachineId("a"), {"rules": []}).serial == 3
    found = networks.find(database, MachineId("a"))
    assert found == networks.Network(MachineId("a"), 1, {"rules": []}, 3)
    assert networks.every(database) == [found]
    with database.transaction() as tx, pytest.raises(errors.NotFound):
        networks.set_policy(tx, MachineId("nobody"), rules)
