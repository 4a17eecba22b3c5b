"""A Machine whose memory is on disk: nobody has its disks meanwhile; it goes on where it was, or begins anew whole."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.fly.containers import ImageOf
from pilot.host.fsm.operation import Run
from pilot.host.fsm.outcome import Ending, Outcome, UserFault
from pilot.host.operations import fly as steps
from pilot.host.operations import fly_disks, fly_requests
from pilot.host.operations.context import Host
from pilot.host.store import fly, machines
from pilot.host.store.fly import App, Machine
from pilot.host.vmm import MachineSpec, MachineStatus
from pilot.ids import MachineId, RunId, VolumeId

ID = MachineId("0" * 14)
IMAGE = ImageOf("app", "example.org/box:1", "sha256:" + "1" * 64, "image-1")


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    monkeypatch.setattr(fly_disks, "give_all", lambda *_: None)  # its agent mounts none
    monkeypatch.setattr(fly_disks, "there", lambda *_: frozenset({"root-0"}))
    monkeypatch.setattr(under_test.vmm, "mounts_in_guest", True)
    monkeypatch.setattr(under_test.vmm, "suspends_to_disk", True)
    with under_test.database.transaction() as tx:
        fly.add_app(tx, App("app", under_test.organisation.id, "app", "default", 0))
        fly.publish_base(tx, IMAGE.digest, VolumeId(IMAGE.volume))
    under_test.volumes.create(VolumeId(IMAGE.volume), 1 << 30)
    yield under_test
    under_test.close()


def _started(host: HostUnderTest, config: dict[str, object] | None = None) -> Machine:
    found = Machine(
        ID, "app", "one", "local", "started", "1", config or {"image": "box"}, {}, (IMAGE,), cordoned=False, lease=None,
        created_us=0, updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, found)
        row = machines.assign(tx, ID, host.vmm.isolation.value, 256 << 20, 1, 1000)
    host.vmm.create(MachineSpec(ID, row.uid_base, row.memory_bytes, row.cpus, row.pids))
    host.vmm.start(ID)
    fly_disks.make_roots(host.host, found)
    root_fd = host.volumes.attach(_root(), 0, 1)
    os.close(os.open("left", os.O_WRONLY | os.O_CREAT, dir_fd=root_fd))
    os.close(root_fd)
    return found


def _root() -> VolumeId:
    return fly_disks.root_volume(ID, 0, IMAGE.digest)


def _left(host: HostUnderTest) -> list[str]:
    """What is in its root."""
    root_fd = host.volumes.attach(_root(), 0, 1)
    try:
        return os.listdir(root_fd)
    finally:
        os.close(root_fd)


def _suspend(host: HostUnderTest) -> None:
    steps.freeze(host.host, Run(RunId("0"), "machine", fly_requests.SUSPEND.name, ID, None))


def _disks_made(host: HostUnderTest) -> Run[fly_requests.Begin]:
    """As an engine has it that goes on behind that step: with what is written down of it."""
    run = Run(RunId("0"), "machine", fly_requests.START.name, ID, fly_requests.Begin("user"))
    made = fly_requests.ROOTS.write(steps.make_disks(host.host, run))
    run.results["disks"] = fly_requests.ROOTS.read(made)
    return run


def _boot(host: HostUnderTest) -> None:
    steps.boot(host.host, _disks_made(host))


def test_nobody_has_its_disks_meanwhile(host: HostUnderTest) -> None:
    _started(host)
    for _ in range(2):  # a pilotd that died at the end of it does it again
        _suspend(host)
        assert host.vmm.status(ID) is MachineStatus.SUSPENDED
        assert _root() not in host.volumes.attached


def test_it_has_ended_before_its_disks_go(host: HostUnderTest) -> None:
    """As for a pilotd that dies when its memory is on disk, and it has not been ended yet."""
    _started(host)
    host.vmm.fail_end = 1
    with pytest.raises(errors.HostError):
        _suspend(host)
    assert (host.vmm.status(ID), ID in host.vmm.machines) == (MachineStatus.SUSPENDED, True)
    assert _root() in host.volumes.attached
    _suspend(host)
    assert (host.vmm.status(ID), ID in host.vmm.machines) == (MachineStatus.SUSPENDED, False)
    assert _root() not in host.volumes.attached


Settle = Callable[[Host, Run[object], Outcome], None]


def _given_up(host: HostUnderTest, settle: Settle) -> str:
    """The state in which a run leaves it that has failed in `freeze`."""
    with host.database.transaction() as tx:
        fly.enter(tx, ID, "suspending", "suspend", "user")
    run = Run(RunId("0"), "machine", fly_requests.SUSPEND.name, ID, None)
    settle(host.host, run, Outcome(Ending.ABORTED, "no luck"))
    return fly.by_id(host.database, ID).state


_SETTLES = pytest.mark.parametrize("settle", [steps.settle_suspend, steps.settle_rest])


@_SETTLES
def test_given_up_when_its_memory_is_on_disk_it_is_suspended(host: HostUnderTest, settle: Settle) -> None:
    _started(host)
    host.vmm.fail_end = 1
    with pytest.raises(errors.HostError):
        _suspend(host)
    assert _given_up(host, settle) == "suspended"
    assert (host.vmm.status(ID), ID in host.vmm.machines) == (MachineStatus.SUSPENDED, False)
    assert _root() not in host.volumes.attached


@_SETTLES
def test_given_up_before_it_runs_on(host: HostUnderTest, settle: Settle, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is stopped, which is seen as its end."""
    _started(host)
    host.vmm.frozen.add(ID)
    assert _given_up(host, settle) == "started"
    assert host.vmm.status(ID) is MachineStatus.RUNNING

    def hangs(_: object) -> None:
        raise errors.PeerError("it does not answer")

    monkeypatch.setattr(host.vmm, "thaw", hangs)
    assert _given_up(host, settle) == "started"
    assert host.vmm.status(ID) is MachineStatus.STOPPED


def test_it_goes_on_with_the_roots_that_it_has(host: HostUnderTest) -> None:
    _started(host)
    _suspend(host)
    _boot(host)
    assert host.vmm.status(ID) is MachineStatus.RUNNING
    assert _left(host) == ["left"]


@pytest.mark.parametrize("keeps", [False, True])
def test_one_that_cannot_be_resumed_begins_anew(host: HostUnderTest, keeps: bool) -> None:
    """Its roots, too, unless they are kept: a start begins as the image is."""
    persist = {"rootfs": {"persist": "always"}} if keeps else {}
    _started(host, {"image": "box", **persist})
    _suspend(host)
    host.vmm.unresumable = True
    _boot(host)
    assert host.vmm.status(ID) is MachineStatus.RUNNING
    assert _left(host) == (["left"] if keeps else [])


def test_an_error_that_passes_costs_it_nothing(host: HostUnderTest) -> None:
    """As of a volumed that is being started anew."""
    _started(host)
    _suspend(host)
    host.vmm.fail_start = 1
    with pytest.raises(errors.HostError, match="no luck"):
        _boot(host)
    assert host.vmm.status(ID) is MachineStatus.SUSPENDED
    _boot(host)
    assert host.vmm.status(ID) is MachineStatus.RUNNING
    assert _left(host) == ["left"]


@pytest.mark.parametrize("keeps", [False, True])
def test_one_that_went_while_it_was_resumed_begins_anew(host: HostUnderTest, keeps: bool) -> None:
    """Its memory was taken up, and then it, or pilotd, was killed, before it ran: `disks` has left its roots to it."""
    persist = {"rootfs": {"persist": "always"}} if keeps else {}
    _started(host, {"image": "box", **persist})
    _suspend(host)
    run = _disks_made(host)
    host.vmm.stop(ID)
    steps.boot(host.host, run)
    assert host.vmm.status(ID) is MachineStatus.RUNNING
    assert _left(host) == (["left"] if keeps else [])


def test_a_run_that_begins_has_none_of_the_logs_of_the_one_before(host: HostUnderTest, tmp_path: pathlib.Path) -> None:
    """It may end as its machine is lost, and then leaves none. One that goes on is the same run still."""
    found = _started(host)
    scratched = dataclasses.replace(host.host, scratch=str(tmp_path))
    kept = tmp_path / "machine-logs" / ID
    kept.parent.mkdir()
    kept.write_bytes(b"")
    _suspend(host)
    run = _disks_made(host)
    steps._start(scratched, run, found, [])
    assert kept.exists()
    host.vmm.stop(ID)
    for _ in range(2):
        steps._start(scratched, run, found, [])
        assert not kept.exists()


def test_one_that_there_is_no_room_for_stays_suspended(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it remembers is not given up for that."""
    found = _started(host)
    _suspend(host)

    def no_room(*_: object) -> None:
        raise UserFault("the host has no room for it", code="exhausted")

    monkeypatch.setattr(host.host.capacity, "admitted", no_room)
    with host.database.transaction() as tx:
        fly.enter(tx, ID, "suspended", "suspend", "flyd")
    outcome = host.engine.start(fly_requests.START, found.id, fly_requests.Begin("user")).result(WAIT_S)
    assert "no room" in str(outcome.error)
    assert host.vmm.status(ID) is MachineStatus.SUSPENDED
    assert fly.by_id(host.database, ID).state == "suspended"
    assert _left(host) == ["left"]
