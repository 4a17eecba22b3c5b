"""Volumes of Machines, on their way: what else is under way for them, and what is left of one that could not be."""

from __future__ import annotations

import os

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.fsm.outcome import Abort
from pilot.host.services.fly_volumes import Wanted
from pilot.host.store import fly, fly_volumes, machines
from pilot.host.store.fly import App, Machine
from pilot.host.vmm import MachineSpec
from pilot.ids import MachineId, VolumeId


@pytest.fixture
def app(host: HostUnderTest) -> App:
    return host.fly.create_app(host.organisation.id, "app", "default")


def _guest(host: HostUnderTest, app: App, *, mounts: list[dict[str, str]]) -> MachineId:
    """A virtual machine that runs."""
    id = MachineId("0" * 14)
    config = {"image": "box", "mounts": mounts}
    with host.database.transaction() as tx:
        fly.add(tx, Machine(
            id, app.id, "guest", "local", "started", "1", config, {}, (), cordoned=False, lease=None, created_us=0,
            updated_us=0,
        ))  # fmt: skip
        row = machines.assign(tx, id, host.vmm.isolation.value, 256 << 20, 1, 1000)
    host.vmm.create(MachineSpec(id, row.uid_base, row.memory_bytes, row.cpus, row.pids))
    host.vmm.start(id)
    return id


def _volume(host: HostUnderTest, app: App, holder: MachineId) -> VolumeId:
    id, made = host.fly.volumes.create(app, Wanted("data", "local", 1))
    assert made.result(WAIT_S).done
    with host.database.transaction() as tx:
        fly_volumes.hold(tx, holder, app.id, [id])
    return id


def test_one_of_the_version_that_is_to_come_becomes_larger(
    host: HostUnderTest, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the images of an update are fetched, its Machine has it; what runs of it has not."""
    monkeypatch.setattr(host.vmm, "mounts_in_guest", True)
    id = _volume(host, app, _guest(host, app, mounts=[]))
    ended = host.fly.volumes.extend(host.fly.volumes.find(app, id), 2)
    assert ended.result(WAIT_S).done
    assert host.volumes.stat(id).size_bytes == 2 << 30
    assert ("grow_drive", "0" * 14) not in host.vmm.calls


@pytest.mark.parametrize("may", [True, False])
def test_one_that_is_mounted_becomes_larger_where_this_host_may(host: HostUnderTest, app: App, may: bool) -> None:
    id = _volume(host, app, _guest(host, app, mounts=[]))
    os.close(host.volumes.attach(id, 0, 1))
    host.volumes.grows_mounted = may
    ended = host.fly.volumes.extend(host.fly.volumes.find(app, id), 2)
    assert ended.result(WAIT_S).done
    assert host.fly.volumes.has_its_size(host.fly.volumes.find(app, id)) is may


def test_an_extension_that_died_is_done_whole(host: HostUnderTest, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk was larger already; the filesystem on it was not."""
    id = _volume(host, app, _guest(host, app, mounts=[]))
    host.volumes.grows_mounted = True
    grown: list[int] = []
    resize = host.volumes.resize

    def dies_once(volume: VolumeId, size_bytes: int) -> None:
        resize(volume, size_bytes)
        grown.append(size_bytes)
        if len(grown) == 1:
            raise errors.PeerError("volumed has gone")

    monkeypatch.setattr(host.volumes, "resize", dies_once)
    assert host.fly.volumes.extend(host.fly.volumes.find(app, id), 2).result(WAIT_S).done
    assert grown == [2 << 30, 2 << 30]


def test_one_that_could_not_be_made_leaves_nothing_attached(
    host: HostUnderTest, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its filesystem had just been made; it would be asked for its end for ever, as one that is attached has none."""
    detach = host.volumes.detach
    failed: list[VolumeId] = []

    def fails_once(volume: VolumeId) -> None:
        if volume in host.volumes.attached and not failed:
            failed.append(volume)
            raise Abort("detach: no more of it")
        detach(volume)

    monkeypatch.setattr(host.volumes, "detach", fails_once)
    id, made = host.fly.volumes.create(app, Wanted("data", "local", 1))
    assert made.result(WAIT_S).error == "detach: no more of it"
    assert failed == [id]
    assert id not in host.volumes.names()
    assert host.fly.volumes.every(app) == []
