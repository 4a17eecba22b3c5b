"""Members of the pool of Machines, on their way: what is left of one that was not made, or taken and not launched."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.fly.containers import ImageOf
from pilot.host.fly.pulling import Images
from pilot.host.fsm.operation import Run
from pilot.host.fsm.outcome import Ending, Outcome
from pilot.host.operations import fly as steps
from pilot.host.operations import fly_disks, fly_pool, fly_requests
from pilot.host.operations.fly_pool import MakeMember
from pilot.host.operations.fly_requests import Launch
from pilot.host.services.fly import NewMachine
from pilot.host.services.fly_images import FlyImages
from pilot.host.services.fly_pool import FlyPool
from pilot.host.services.fly_volumes import Wanted
from pilot.host.store import fly, fly_members, fly_volumes, machines
from pilot.host.store.fly import App, Machine
from pilot.host.store.fly_members import Member
from pilot.host.vmm import MachineSpec
from pilot.ids import MachineId, RunId, VolumeId

ID = MachineId("0" * 14)
OURS, THEIRS = (f"sha256:{digit * 64}" for digit in "12")
BEGINS_ALIKE = OURS[:40] + THEIRS[40:]


@pytest.fixture
def app(host: HostUnderTest) -> App:
    return host.fly.create_app(host.organisation.id, "app", "default")


def _image(digest: str) -> ImageOf:
    return ImageOf("app", "example.org/box:1", digest, "image-0")


def _bring_nothing(*_: object) -> None:
    raise errors.NotFound("no such image")


def _root(host: HostUnderTest, digest: str) -> VolumeId:
    """Of the member, attached as its root is."""
    volume = fly_disks.root_volume(ID, 0, digest)
    host.volumes.create(volume, 1 << 30)
    host.volumes.attach(volume, 0, 1)
    return volume


def _member(host: HostUnderTest, digest: str) -> VolumeId:
    with host.database.transaction() as tx:
        fly_members.add(tx, Member(ID, (digest,)))
        machines.assign(tx, ID, host.vmm.isolation.value, 256 << 20, 1, 1000)
    return _root(host, digest)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_of_a_launch_that_failed_early_no_root_of_the_member_is_left(
    host: HostUnderTest, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own image cannot be had, so that it never came to its disks: nobody else would look for the member's."""
    monkeypatch.setattr(Images, "bring", _bring_nothing)
    given = _member(host, THEIRS)
    wanted = Launch(app.id, "one", "local", "1", {"image": "box"}, (_image(OURS),), claimed=(THEIRS,))
    outcome = host.engine.start(fly_requests.LAUNCH, ID, wanted).result(WAIT_S)
    assert "no such image" in str(outcome.error)
    assert fly.by_id(host.database, ID).state == "failed"
    assert given not in host.volumes.names()
    assert given not in host.volumes.attached


def test_a_root_of_another_image_goes_also_when_it_is_called_the_same(host: HostUnderTest, app: App) -> None:
    found = Machine(
        ID, app.id, "one", "local", "created", "1", {"image": "box"}, {}, (_image(OURS),), cordoned=False, lease=None,
        created_us=0, updated_us=0,
    )  # fmt: skip
    volume = _root(host, BEGINS_ALIKE)
    assert fly_disks.roots(ID, found.images) == [volume]
    fly_pool.drop_unwanted(host.host, found, (OURS,))
    assert volume in host.volumes.names()
    fly_pool.drop_unwanted(host.host, found, (BEGINS_ALIKE,))
    assert volume not in host.volumes.names()


def test_a_volume_has_its_size_when_a_member_gets_it(
    host: HostUnderTest, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The member runs already: what a start would see to is seen to nevertheless."""
    volume, made = host.fly.volumes.create(app, Wanted("data", "local", 1))
    assert made.result(WAIT_S).done
    given: list[str] = []
    monkeypatch.setattr(fly_disks, "there", lambda host, id: frozenset())
    monkeypatch.setattr(fly_disks, "give", lambda host, id, number, name, take: given.append(name))
    config: dict[str, object] = {"image": "box", "mounts": [{"volume": volume, "path": "/data"}]}
    wanted = Launch(app.id, "one", "local", "1", config, (), claimed=())
    run = Run(RunId("0"), fly_requests.LAUNCH.kind, fly_requests.LAUNCH.name, ID, wanted)
    steps.record(host.host, run)
    with host.database.transaction() as tx:
        row = machines.assign(tx, ID, host.vmm.isolation.value, 256 << 20, 1, 1000)
        fly_volumes.change(tx, volume, size_gb=2)
    host.vmm.create(MachineSpec(ID, row.uid_base, row.memory_bytes, row.cpus, row.pids))
    host.vmm.start(ID)
    steps.boot(host.host, run)
    assert given == ["volume-0"]
    assert host.volumes.stat(volume).size_bytes == 2 << 30


def test_one_that_was_never_written_down_leaves_no_root(host: HostUnderTest) -> None:
    """As after a loss of power: the disk of a volume may know more than the store, which was not waited for."""
    volume = _root(host, OURS)
    assert fly_members.find(host.database, ID) is None
    run = Run(RunId("0"), fly_pool.MAKE.kind, fly_pool.MAKE.name, ID, MakeMember((OURS,)))
    fly_pool.settle(host.host, run, Outcome(Ending.CANCELLED))
    assert volume not in host.volumes.names()


def test_a_pool_that_could_not_be_filled_is_when_it_can_be(
    host: HostUnderTest, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 0
    monkeypatch.setattr(host.host.capacity, "_room", lambda: room)
    monkeypatch.setattr(FlyImages, "find", lambda *_: (_image(OURS),))
    monkeypatch.setattr(Images, "bring", _bring_nothing)
    pool = FlyPool(host.host, host.engine, 1)
    monkeypatch.setattr(host.fly, "_pool", pool)
    pool.start()
    _until(lambda: not host.engine.active())
    assert fly_members.every(host.database) == []
    room = 1 << 22
    host.fly.create(app, NewMachine("", "", {"image": "box"}))
    _until(lambda: fly_members.every(host.database) != [])
    pool.stop()
