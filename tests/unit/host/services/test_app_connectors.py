"""Connectors of an app: what each of its Machines is granted, and who else is not."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from pilot import errors
from pilot.host.fly.vault import Vault
from pilot.host.network.connectors import authority as authorities
from pilot.host.network.connectors import grants
from pilot.host.network.connectors.connector import Bearer
from pilot.host.network.service import Member
from pilot.host.operations import connecting
from pilot.host.operations import networks as network_steps
from pilot.host.operations.context import Host
from pilot.host.services.app_connectors import AppConnectors
from pilot.host.services.connectors import Wanted
from pilot.host.store import connectors as rows
from pilot.host.store import fly, machines, networks, tokens
from pilot.host.store.fly import App, Machine
from pilot.host.store.sqlite import SqliteDatabase
from pilot.host.vmm import MachineStatus
from pilot.ids import MachineId
from pilot.wire import faults

SECRET = "tok-3a97e1"
SHOP, OTHER = App("0a" * 8, "o", "shop", "default", 0), App("0b" * 8, "o", "other", "default", 0)


class _Networks:
    """Who was told what."""

    def __init__(self) -> None:
        self.told: dict[MachineId, Member] = {}

    def refresh(self, machine: MachineId, member: Callable[[], Member]) -> None:
        self.told[machine] = member()

    def uses(self, machine: MachineId, connector: str) -> list[object]:
        return []

    def ensure(self, member: Member) -> None:
        self.told[member.machine] = member

    def is_connected(self, member: Member) -> bool:
        return True


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    database = SqliteDatabase(str(tmp_path / "state.db"))
    monkeypatch.setattr("pilot.host.services.app_connectors.fly.tell", lambda host, machine: None)
    made = Host(database, None, None, None, "v", lambda: "", networks=_Networks(), vault=Vault(bytes(32)))  # type: ignore[arg-type]
    organisation = tokens.ensure_organisation(database, "local").id
    with database.transaction() as tx:
        for app in (SHOP, OTHER):
            fly.add_app(tx, dataclasses.replace(app, organisation=organisation))
    yield made
    database.close()


def _machine(host: Host, id: str, app: App) -> MachineId:
    machine = MachineId(id)
    with host.database.transaction() as tx:
        machines.assign(tx, machine, "container", 1 << 28, 1, 100)
        row = Machine(
            machine, app.id, id, "local", "started", "v1", {}, {}, (), cordoned=False, lease=None, created_us=0,
            updated_us=0,
        )  # fmt: skip
        fly.add(tx, row)
        networks.assign(tx, machine, 100)
    return machine


def _told(host: Host) -> dict[MachineId, Member]:
    assert isinstance(host.networks, _Networks)
    return host.networks.told


def test_each_machine_of_the_app_is_granted_it_sealed_for_itself(host: Host) -> None:
    first, second, stranger = (_machine(host, id, app) for id, app in (("m1", SHOP), ("m2", SHOP), ("m3", OTHER)))
    AppConnectors(host).put(SHOP, "api", Wanted(["api.test"], Bearer(), SECRET))
    told = _told(host)
    assert set(told) == {first, second}
    assert host.vault is not None
    for machine in (first, second):
        [connector] = told[machine].connectors
        assert grants.opened(host.vault, machine, connector) == SECRET.encode()
        with pytest.raises(errors.HostError):
            grants.opened(host.vault, stranger, connector)
        authority = told[machine].authority
        assert authority is not None
        assert authorities.names_of(authority) == {"api.test"}
    assert connecting.granted(host, stranger) == ()
    assert connecting.authority(host, stranger) is None
    assert told[first].authority != told[second].authority, "each believes its own"


def test_one_that_comes_later_has_it_and_what_is_later_counts(host: Host) -> None:
    service = AppConnectors(host)
    service.put(SHOP, "api", Wanted(["api.test"], Bearer(), SECRET))
    machine = _machine(host, "m1", SHOP)
    [connector] = connecting.granted(host, machine)
    made = connecting.authority(host, machine)
    assert connecting.authority(host, machine) == made, "made once"
    before = networks.find(host.database, machine)
    service.put(SHOP, "api", Wanted(["api.test", "more.test"], Bearer(), SECRET))
    after = networks.find(host.database, machine)
    assert before is not None
    assert after is not None
    assert after.serial > before.serial
    assert connecting.hosts(host.database, machine) == ("api.test", "more.test")
    again = _told(host)[machine].authority
    assert made is not None
    assert again is not None
    assert again.sealed == made.sealed
    assert authorities.names_of(again) == {"api.test", "more.test"}
    assert connector.hosts == ("api.test",)


def test_taken_away_it_is_told_and_an_app_takes_its_own_along(host: Host) -> None:
    service, machine = AppConnectors(host), _machine(host, "m1", SHOP)
    service.put(SHOP, "api", Wanted(["api.test"], Bearer(), SECRET))
    service.delete(SHOP, "api")
    assert _told(host)[machine].connectors == ()
    with pytest.raises(errors.NotFound):
        service.delete(SHOP, "api")
    service.put(OTHER, "api", Wanted(["api.test"], Bearer(), SECRET))
    with host.database.transaction() as tx:
        fly.delete_app(tx, OTHER.id)
    assert rows.every(host.database, rows.of_app(OTHER.id)) == []


def test_a_kept_secret_goes_to_no_host_that_is_new(host: Host) -> None:
    service = AppConnectors(host)
    service.put(SHOP, "api", Wanted(["api.test"], Bearer(), SECRET))
    with pytest.raises(faults.InvalidRequest, match=r"thief\.test"):
        service.put(SHOP, "api", Wanted(["api.test", "thief.test"], Bearer(), None))
    assert service.find(SHOP, "api").connector.hosts == ("api.test",)
    with pytest.raises(errors.Conflict):
        service.put(SHOP, "second", Wanted(["api.test"], Bearer(), SECRET))


def test_what_was_sealed_with_a_key_that_is_lost_keeps_nobody_elses_network(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """pilotd starts, and all others have theirs."""
    for id, app in (("m1", SHOP), ("m2", OTHER), ("m3", SHOP)):
        _machine(host, id, app)
    AppConnectors(host).put(SHOP, "api", Wanted(["api.test"], Bearer(), SECRET))
    statuses = {"m1": MachineStatus.RUNNING, "m2": MachineStatus.RUNNING, "m3": MachineStatus.STOPPED}
    running = SimpleNamespace(of=lambda isolation: SimpleNamespace(status=statuses.get))
    networked = _Networks()
    another = dataclasses.replace(host, vault=Vault(b"1" * 32), networks=networked, substrates=running)  # type: ignore[arg-type]
    network_steps.restore(another)
    assert set(networked.told) == {"m2"}
    assert [record.machine for record in caplog.records if record.message == "network not restored"] == ["m1"]  # type: ignore[attr-defined]
