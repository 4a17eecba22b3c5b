"""Real virtual machines: QEMU, the built guest, its agent. One boot for the whole module; every start is a clone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import msgspec
import pytest
from tests.support import virtual

from pilot import errors
from pilot.host.vmm import MachineSpec, MachineStatus
from pilot.host.vmm.qemu import background, memory, migration, mux, pidfile, qmp
from pilot.host.vmm.qemu import command as qemu_command
from pilot.ids import MachineId, VolumeId
from pilot.kernel.cgroups import Cgroup
from pilot.kernel.hierarchies import probe_hierarchies

pytestmark = pytest.mark.requires("root", "private", "qemu", "mmdebstrap", "busybox")

_END_S = 30.0


@pytest.fixture(scope="module")
def machines() -> Iterator[virtual.Machines]:
    with virtual.machines() as made:
        yield made


def _pid(machines: virtual.Machines, machine: MachineId, name: str) -> str:
    return os.path.join(machines.directory, "machines", machine, name)


def test_the_agent_answers_and_says_what_it_is(machines: virtual.Machines) -> None:
    machine = machines.create("first")
    machines.vmm.start(machine)
    assert machines.vmm.status(machine) is MachineStatus.RUNNING
    status = machines.call(machine, "GET", "/v1/status")
    assert (status["isolation"], status["prepared"]) == ("vm", True), "a clone has nothing left to prepare"
    assert machines.call(machine, "GET", "/v1/version")["api"]


def test_a_template_is_booted_once(machines: virtual.Machines) -> None:
    templates = os.path.join(machines.directory, "templates")
    machines.vmm.start(machines.create("before"))
    (template,) = set(os.listdir(templates)) - {"lock"}
    made = os.stat(os.path.join(templates, template, "ram")).st_mtime_ns
    machines.vmm.start(machines.create("after"))
    assert set(os.listdir(templates)) == {"lock", template}
    assert os.stat(os.path.join(templates, template, "ram")).st_mtime_ns == made
    assert sorted(os.listdir(os.path.join(templates, template))) == ["ram", "state"]


def test_the_world_on_the_disk_runs_and_what_it_writes_stays(machines: virtual.Machines) -> None:
    machine, disk = machines.create("durable"), machines.disk("durable.img", "from the disk")
    machines.start_world(machine, disk)
    assert b"from the disk" in machines.run(machine, "cat", "/content")
    assert b"durable" in machines.run(machine, "hostname")
    machines.run(machine, "sh", "-c", "echo kept > /root/file")
    machines.vmm.stop(machine)
    assert machines.vmm.status(machine) is MachineStatus.STOPPED
    machines.start_world(machine, disk)
    assert b"kept" in machines.run(machine, "cat", "/root/file")


def test_qemu_is_nobody_behind_a_filter(machines: virtual.Machines) -> None:
    machine = machines.create("confined")
    machines.vmm.start(machine)
    pid = pidfile.find(_pid(machines, machine, qemu_command.PID))
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == set(status["Groups"].split()) != {"0"}
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")


def test_two_machines_at_once_keep_their_disks_apart(machines: virtual.Machines) -> None:
    one, two = machines.create("one"), machines.create("two")
    machines.start_world(one, machines.disk("one.img", "first content"))
    machines.start_world(two, machines.disk("two.img", "other content"))
    assert b"first content" in machines.run(one, "cat", "/content")
    assert b"other content" in machines.run(two, "cat", "/content")


def test_much_output_comes_through_whole(machines: virtual.Machines) -> None:
    machine = machines.create("much")
    machines.start_world(machine, machines.disk("much.img", ""))
    answer = machines.run(machine, "dd", "if=/dev/zero", "bs=1000", "count=3000")
    assert answer.count(b"\0") >= 3_000_000


def test_a_new_pilotd_finds_the_machine(machines: virtual.Machines) -> None:
    machine = machines.create("found")
    machines.vmm.start(machine)
    pid = pidfile.find(_pid(machines, machine, qemu_command.PID))
    other = machines.another()
    assert other.status(machine) is MachineStatus.RUNNING
    other.start(machine)
    assert pidfile.find(_pid(machines, machine, qemu_command.PID)) == pid
    assert machines.call(machine, "GET", "/v1/status")["state"] == "ready"


def test_a_killed_mux_comes_back_with_start(machines: virtual.Machines) -> None:
    machine = machines.create("remuxed")
    machines.vmm.start(machine)
    pid = pidfile.find(_pid(machines, machine, qemu_command.PID))
    assert pidfile.end(_pid(machines, machine, mux.PID), signal.SIGKILL, _END_S)
    machines.vmm.start(machine)
    assert machines.call(machine, "GET", "/v1/status")["state"] == "ready"
    assert pidfile.find(_pid(machines, machine, qemu_command.PID)) == pid


def test_a_killed_machine_is_stopped_and_starts_again(machines: virtual.Machines) -> None:
    machine = machines.create("killed")
    machines.vmm.start(machine)
    assert pidfile.end(_pid(machines, machine, qemu_command.PID), signal.SIGKILL, _END_S)
    assert machines.vmm.status(machine) is MachineStatus.STOPPED
    assert pidfile.wait(_pid(machines, machine, mux.PID), _END_S)
    machines.vmm.start(machine)
    assert machines.call(machine, "GET", "/v1/status")["state"] == "ready"


def test_a_start_that_was_interrupted_is_begun_anew(machines: virtual.Machines) -> None:
    machine = machines.create("interrupted")
    machines.vmm.start(machine)
    directory = os.path.dirname(machines.vmm.dial_path(machine))
    with qmp.connect(os.path.join(directory, qemu_command.QMP_SOCKET), _END_S) as control:
        # As it is before `cont`, for want of a pilotd that dies exactly there.
        control.execute("stop")
    half_made = pidfile.find(_pid(machines, machine, qemu_command.PID))
    assert machines.another().status(machine) is MachineStatus.STOPPED
    machines.vmm.start(machine)
    assert pidfile.find(_pid(machines, machine, qemu_command.PID)) not in {None, half_made}
    assert machines.call(machine, "GET", "/v1/status")["state"] == "ready"


def test_stop_ends_the_guest_from_within(machines: virtual.Machines) -> None:
    machine = machines.create("polite")
    machines.vmm.start(machine)
    machines.vmm.stop(machine)
    with open(_pid(machines, machine, qemu_command.CONSOLE)) as console:
        assert "reboot: Restarting system" in console.read()
    machines.vmm.stop(machine)


def test_its_processes_are_in_its_cgroup(machines: virtual.Machines) -> None:
    machine = machines.create("grouped")
    machines.vmm.start(machine)
    group = Cgroup(probe_hierarchies().paths(f"/pilot-{virtual.TAG}/machines/{machine}"))
    directory = os.path.dirname(machines.vmm.dial_path(machine))
    assert sorted(group.pids()) == sorted(background.pids(directory))
    machines.vmm.destroy(machine)
    assert not group.exists()


def test_destroy_leaves_nothing(machines: virtual.Machines) -> None:
    machine = machines.create("gone")
    machines.vmm.start(machine, machines.drive(machines.disk("gone.img", "")))
    directory = os.path.dirname(machines.vmm.dial_path(machine))
    assert virtual.processes_naming(directory)
    machines.vmm.destroy(machine)
    assert virtual.processes_naming(directory) == []
    assert not os.path.exists(directory)
    assert machines.vmm.status(machine) is MachineStatus.ABSENT
    machines.vmm.destroy(machine)


def _asleep(machines: virtual.Machines, name: str) -> tuple[MachineId, VolumeId]:
    """Suspended, with a word in its memory, one on its disk, and one that is to come there."""
    machine, disk = machines.create(name), machines.disk(f"{name}.img", "")
    machines.start_world(machine, disk)
    machines.run(
        machine, "sh", "-c", "echo remembered > /dev/shm/word; echo kept > /root/word; sync; echo late > /root/late"
    )
    machines.vmm.suspend(machine)
    return machine, disk


def test_suspended_it_is_on_disk_alone_and_goes_on_where_it_was(machines: virtual.Machines) -> None:
    machine, disk = _asleep(machines, "asleep")
    directory = os.path.dirname(machines.vmm.dial_path(machine))
    for _ in range(2):
        assert virtual.processes_naming(directory) == []
        other = machines.another()
        assert other.status(machine) is MachineStatus.SUSPENDED
        other.suspend(machine)  # it is already
        other.start(machine, machines.drive(disk))
        assert other.status(machine) is MachineStatus.RUNNING
        assert not os.path.exists(os.path.join(directory, "memory"))
        assert b"remembered" in machines.run(machine, "cat", "/dev/shm/word")
        assert b"late" in machines.run(machine, "cat", "/root/late")
        machines.vmm.suspend(machine)
    machines.vmm.stop(machine)
    assert machines.vmm.status(machine) is MachineStatus.STOPPED
    assert not os.path.exists(os.path.join(directory, "memory"))


def test_what_is_on_disk_and_has_not_ended_ends(machines: virtual.Machines) -> None:
    """As a pilotd leaves it that is killed between the two; and goes on as any other."""
    machine = machines.create("both")
    machines.vmm.start(machine)
    boot = machines.call(machine, "GET", "/v1/status")["boot_id"]
    directory = os.path.dirname(machines.vmm.dial_path(machine))
    with open(os.path.join(directory, "shape")) as file:
        memory.save(directory, file.read())
    other = machines.another()
    assert (other.status(machine), background.runs(directory)) == (MachineStatus.SUSPENDED, True)
    other.suspend(machine)
    assert (other.status(machine), background.runs(directory)) == (MachineStatus.SUSPENDED, False)
    other.start(machine)
    assert machines.call(machine, "GET", "/v1/status")["boot_id"] == boot


def test_what_was_suspended_before_the_host_started_anew_begins_anew(machines: virtual.Machines) -> None:
    machine, disk = _asleep(machines, "older")
    directory = os.path.dirname(machines.vmm.dial_path(machine))
    of = os.path.join(directory, "memory", "of")
    with open(of, "wb") as file:
        file.write(msgspec.json.encode(memory.Of("another boot", "a shape")))
    assert machines.vmm.status(machine) is MachineStatus.STOPPED
    machines.start_world(machine, disk)
    assert b"remembered" not in machines.run(machine, "cat", "/dev/shm/word")
    assert b"kept" in machines.run(machine, "cat", "/root/word")
    assert not os.path.exists(os.path.join(directory, "memory"))


def test_what_was_suspended_by_another_command_line_is_refused(machines: virtual.Machines) -> None:
    """As after an update of QEMU; stopped, it begins anew."""
    machine, disk = _asleep(machines, "changed")
    of = os.path.join(os.path.dirname(machines.vmm.dial_path(machine)), "memory", "of")
    with open(of, "rb") as file:
        was = msgspec.json.decode(file.read(), type=memory.Of)
    with open(of, "wb") as file:
        file.write(msgspec.json.encode(memory.Of(was.boot, "another")))
    with pytest.raises(errors.HostError, match="of another machine"):
        machines.vmm.start(machine, machines.drive(disk))
    assert machines.vmm.status(machine) is MachineStatus.SUSPENDED
    machines.vmm.stop(machine)
    machines.start_world(machine, disk)
    assert b"kept" in machines.run(machine, "cat", "/root/word")


def _begin_to_write(directory: str) -> None:
    """As a pilotd does that is killed in the middle of it; so slowly that it does not end by itself."""
    os.mkdir(os.path.join(directory, "memory.new"))
    with (
        qmp.connect(os.path.join(directory, qemu_command.QMP_SOCKET), _END_S) as control,
        open(os.path.join(directory, "memory.new", "state"), "wb") as file,
    ):
        control.execute("stop")
        control.execute("migrate-set-parameters", {"max-bandwidth": 1 << 16})
        control.execute("getfd", {"fdname": "state"}, fd=file.fileno())
        control.execute("migrate", {"uri": "fd:state"})
        assert control.execute("query-migrate")["status"] in {"setup", "active"}


def test_a_suspension_that_was_interrupted_or_failed_is_none(
    machines: virtual.Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machines.create("awake")
    machines.vmm.start(machine)
    directory = os.path.dirname(machines.vmm.dial_path(machine))
    _begin_to_write(directory)
    assert machines.another().status(machine) is MachineStatus.RUNNING
    machines.another().thaw(machine)
    assert machines.call(machine, "GET", "/v1/status")["state"] == "ready"
    with qmp.connect(os.path.join(directory, qemu_command.QMP_SOCKET), _END_S) as control:
        assert control.execute("query-migrate")["status"] == "cancelled"

    def fails(*_: object, **__: object) -> None:
        raise errors.HostError("there is no room")

    monkeypatch.setattr(migration, "save", fails)
    with pytest.raises(errors.HostError, match="there is no room"):
        machines.vmm.suspend(machine)
    assert machines.vmm.status(machine) is MachineStatus.RUNNING
    assert machines.call(machine, "GET", "/v1/status")["state"] == "ready"
    assert not os.path.exists(os.path.join(directory, "memory.new"))


def test_a_machine_that_is_not_there_does_not_start(machines: virtual.Machines) -> None:
    with pytest.raises(errors.NotFound, match="it was not made on this host"):
        machines.vmm.start(MachineId("nobody"))


def test_a_state_directory_too_deep_for_sockets_is_refused(machines: virtual.Machines) -> None:
    with pytest.raises(errors.HostError, match="too long for a socket"):
        machines.vmm.create(MachineSpec(MachineId("m" * 100), uid_base=0))
