"""What a suspension leaves when it is given up, or its pilotd dies in it; of a QEMU that migrates and has no guest."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator

import pytest
from tests.support import fake_qemu
from tests.support.fake_qemu import FakeQemu

from pilot import errors
from pilot.host.vmm import MachineSpec, MachineStatus, Unresumable
from pilot.host.vmm.qemu import background, memory, migration, qmp, template
from pilot.host.vmm.qemu import command as qemu_command
from pilot.host.vmm.qemu.machine import Qemu
from pilot.host.vmm.qemu.room import Room
from pilot.ids import MachineId

ID = MachineId("m")


@pytest.fixture
def vmm() -> Iterator[Qemu]:
    """With a machine of no guest; in a directory whose name is short enough for sockets."""
    directory = tempfile.mkdtemp(prefix="q-", dir="/tmp")

    def nothing() -> qemu_command.Artefacts:
        raise AssertionError("nothing is started")

    host = qemu_command.Host(qemu_command.Accelerator.TCG, 1)
    made = Qemu(directory, "memorytest", nothing, lambda: host)
    made.create(MachineSpec(ID, 0, 256 << 20, 1))
    yield made
    shutil.rmtree(directory)


@pytest.fixture
def directory(vmm: Qemu) -> str:
    return os.path.dirname(vmm.dial_path(ID))


def _begin_to_write(directory: str) -> None:
    """As a pilotd does that is killed in the middle of it."""
    os.mkdir(os.path.join(directory, "memory.new"))
    with qmp.connect(os.path.join(directory, qemu_command.QMP_SOCKET), fake_qemu.WAIT_S) as control:
        control.execute("stop")
        fd = os.open(os.path.join(directory, "memory.new", "state"), os.O_WRONLY | os.O_CREAT)
        control.execute("getfd", {"fdname": "state"}, fd=fd)
        os.close(fd)
        control.execute("migrate", {"uri": "fd:state"})


def _started_with(directory: str, shape: str) -> None:
    with open(os.path.join(directory, "shape"), "w") as file:
        file.write(shape)


def test_one_that_was_being_written_goes_on_and_nothing_stops_it_later(vmm: Qemu, directory: str) -> None:
    """A migration that is not cancelled would stop it when all is written."""
    with fake_qemu.running(directory, migrates="hangs") as qemu:
        _begin_to_write(directory)
        assert vmm.status(ID) is MachineStatus.RUNNING
        vmm.thaw(ID)
        qemu.tell("x-converge")
        assert qemu.state() == "running"
        assert not os.path.exists(os.path.join(directory, "memory.new"))


def test_one_that_was_written_meanwhile_goes_on(vmm: Qemu, directory: str) -> None:
    """All of it is written by then, and QEMU has stopped for good by itself."""
    with fake_qemu.running(directory, migrates="hangs") as qemu:
        _begin_to_write(directory)
        qemu.tell("x-converge")
        assert qemu.state() == "postmigrate"
        vmm.thaw(ID)
        assert qemu.state() == "running"


def test_a_migration_that_stands_still_is_given_up(vmm: Qemu, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "SILENCE_S", 0.1)
    monkeypatch.setattr(migration, "LOOK_S", 0.02)
    with fake_qemu.running(directory, migrates="hangs") as qemu:
        with pytest.raises(errors.HostError, match="write a machine's memory: QEMU has stood still"):
            memory.save(directory, "a shape")
        told = qemu.told()
        assert told.index("migrate") < told.index("migrate_cancel") < told.index("cont")
        qemu.tell("x-converge")
        assert qemu.state() == "running"
        assert not os.path.exists(os.path.join(directory, "memory.new"))


def test_a_migration_may_take_as_long_as_it_moves() -> None:
    motion = migration.Motion(10.0)
    assert not any(motion.stands(at, now_s) for at, now_s in [(0, 0.0), (1, 9.0), (2, 18.0), (2, 28.0)])
    assert motion.stands(2, 28.1)


def test_a_failed_one_runs_on(vmm: Qemu, directory: str) -> None:
    with fake_qemu.running(directory, migrates="fails") as qemu:
        with pytest.raises(errors.HostError, match="QEMU's migration failed"):
            memory.save(directory, "a shape")
        assert qemu.state() == "running"


def test_one_that_hangs_while_it_is_suspended_is_stopped_and_destroyed(
    vmm: Qemu, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "STOP_S", 0.2)
    with fake_qemu.running(directory, migrates="hangs") as qemu:
        _begin_to_write(directory)
        qemu.process.send_signal(signal.SIGSTOP)
        vmm.stop(ID)
        assert not qemu.runs()
        assert vmm.status(ID) is MachineStatus.STOPPED
        assert not os.path.exists(os.path.join(directory, "memory.new"))
    with fake_qemu.running(directory, migrates="hangs") as qemu:
        _begin_to_write(directory)
        qemu.process.send_signal(signal.SIGSTOP)
        vmm.destroy(ID)
        assert not qemu.runs()
        assert vmm.status(ID) is MachineStatus.ABSENT


def test_suspended_it_runs_no_more(vmm: Qemu, directory: str) -> None:
    with fake_qemu.running(directory) as qemu:
        _started_with(directory, "a shape")
        vmm.suspend(ID)
        assert not qemu.runs()
        assert vmm.status(ID) is MachineStatus.SUSPENDED


def test_one_that_there_is_no_room_for_stands_still(vmm: Qemu, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And keeps its RAM: the host's disk is for others, too."""
    stopped: list[MachineId] = []
    monkeypatch.setattr(vmm, "_room", Room(lambda: (256 << 20) + 99, 100))
    monkeypatch.setattr(vmm, "freeze", stopped.append)
    with fake_qemu.running(directory) as qemu:
        _started_with(directory, "a shape")
        vmm.suspend(ID)
        assert (stopped, qemu.state()) == ([ID], "running")
        assert (qemu.runs(), os.path.exists(os.path.join(directory, "memory"))) == (True, False)


def test_one_that_is_on_disk_and_has_not_ended_ends(vmm: Qemu, directory: str) -> None:
    """As pilotd was killed between the two."""
    with fake_qemu.running(directory) as qemu:
        _started_with(directory, "a shape")
        memory.save(directory, "a shape")
        assert (vmm.status(ID), qemu.runs()) == (MachineStatus.SUSPENDED, True)
        vmm.suspend(ID)
        assert (vmm.status(ID), qemu.runs()) == (MachineStatus.SUSPENDED, False)


Starts = Callable[[str], list[FakeQemu]]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Starts]:
    """QEMUs that migrate in that way are what is started from here on; those that were are told."""
    started: list[FakeQemu] = []

    def start(migrates: str) -> list[FakeQemu]:
        def qemu(machine: qemu_command.Machine) -> None:
            assert machine.incoming
            started.append(FakeQemu(machine.directory, "inmigrate", migrates))

        monkeypatch.setattr(background, "start_qemu", qemu)
        monkeypatch.setattr(background, "start_mux", lambda _: None)
        return started

    yield start
    for each in started:
        each.end()


def _whole(directory: str) -> qemu_command.Machine:
    host = qemu_command.Host(qemu_command.Accelerator.TCG, 1)
    return qemu_command.Machine(
        directory, qemu_command.Artefacts("/k", "/i", "/r"), host, qemu_command.Memory(1 << 28), 1
    )


def _suspended(directory: str) -> qemu_command.Machine:
    whole = _whole(directory)
    with fake_qemu.running(directory):
        memory.save(directory, template.digest(whole))
    return whole


def test_a_memory_that_qemu_refuses_is_never_taken_up(vmm: Qemu, directory: str, starts: Starts) -> None:
    whole = _suspended(directory)
    with open(os.path.join(directory, "memory", "state"), "wb") as file:
        file.write(b"other")
    starts("ends")
    with pytest.raises(Unresumable, match="load of migration failed"):
        vmm._resume(ID, whole)


def test_a_qemu_that_dies_without_a_word_costs_nothing(
    vmm: Qemu, directory: str, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of one that the host's kernel has killed for want of memory."""
    monkeypatch.setattr(vmm, "_started", lambda *_: None)
    whole = _suspended(directory)
    started = starts("dies")
    with pytest.raises(errors.PeerError):
        vmm._resume(ID, whole)
    assert vmm.status(ID) is MachineStatus.SUSPENDED
    starts("ends")
    vmm._resume(ID, whole)
    assert (started[-1].state(), vmm.status(ID)) == ("running", MachineStatus.RUNNING)


def test_one_that_is_slow_to_answer_keeps_what_it_remembers(
    vmm: Qemu, directory: str, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise errors.PeerError("it does not answer")

    monkeypatch.setattr(vmm, "_started", silent)
    whole = _suspended(directory)
    started = starts("ends")
    with pytest.raises(errors.PeerError, match="does not answer"):
        vmm._resume(ID, whole)
    assert (started[-1].state(), vmm.status(ID)) == ("running", MachineStatus.RUNNING)
