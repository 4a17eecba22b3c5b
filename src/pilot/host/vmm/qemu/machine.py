"""Machines that are virtual machines of QEMU.

    <state-dir>/machines/<id>/
        machine.json    what it was made from
        console.log     the serial console, all boots
        shape           a digest of what its QEMU was told, when it was started last
        memory/         what was in its memory, while it is suspended (`memory`)
        qemu.pid        locked by QEMU while it runs         qmp.sock    its control socket
        mux.pid         locked by the mux while it runs      port.sock   the guest's port, between QEMU and the mux
        mux.log         what the mux had to say              dial.sock   the machine's ports, for everybody
        qemu.log        what QEMU had to say
    <state-dir>/templates/   see `template`

QEMU and the mux are nobody's children: they outlive pilotd, and are found again by the locks on their pid files. The
mux follows QEMU into death; when it dies alone, `start` brings a new one.

A start is a clone of the template for the machine's shape, which is booted when it is missing. A boot that does not
answer in time is killed and tried again: under a loaded translator a guest can hang for good.

Both processes are in the cgroup `pilot-<tag>/machines/<id>`, which goes with the machine.

The disk is a drive, and the network a card, and so they have to be there when QEMU starts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from .... import errors
from ....ids import MachineId
from ....kernel import cgroups, files, hierarchies
from ....machine import dial, pilot_api
from ....wire import dial as ports
from ....wire import operations, schema
from ....wire.schema import DiskReference
from .. import Disk, Isolation, Link, MachineSpec, MachineStatus, Usage, counters, spec_file
from . import background, memory, mux, qmp, room, template
from . import command as qemu_command

log = logging.getLogger(__name__)

# Of a Unix socket's name, without its final NUL.
_MAX_SOCKET_PATH = 107
_NO_DISK_BYTES = 1 << 20
_QMP_S = 10.0
_PAUSE_S = 0.1
_SHAPE = "shape"


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long what may take, in seconds. A boot takes 3 s under TCG, on a busy host several times that."""

    boot_s: float = 40.0
    boots: int = 3
    clone_s: float = 20.0
    stop_s: float = 15.0


_THREADS = 64  # of QEMU and its mux: the guest has process numbers of its own


class Qemu:
    """A `Vmm`. `artefacts` and `host` are asked at each start. `keep_free_bytes`: of the disk of `state_dir`, which no
    memory of a machine that is suspended is to take."""

    isolation = Isolation.VM
    mounts_in_guest = True

    def __init__(
        self,
        state_dir: str,
        tag: str,
        artefacts: Callable[[], qemu_command.Artefacts],
        host: Callable[[], qemu_command.Host],
        *,
        patience: Patience | None = None,
        keep_free_bytes: int = 0,
    ) -> None:
        self._machines = os.path.join(state_dir, "machines")
        self._templates = os.path.join(state_dir, "templates")
        self._group = f"/pilot-{tag}/machines"
        self._artefacts = artefacts
        self._host = host
        self._patience = patience or Patience()
        self._room = room.Room(lambda: room.free_bytes(self._machines), keep_free_bytes)

    def max_processes(self, spec: MachineSpec) -> int:
        return _THREADS

    def create(self, spec: MachineSpec) -> None:
        directory = self._path(spec.id)
        if len(os.path.join(directory, mux.DIAL_SOCKET + ".new")) > _MAX_SOCKET_PATH:
            raise errors.HostError(
                f"create machine {spec.id}: {directory}: too long for a socket", hint="use a shorter --state-dir"
            )
        os.makedirs(directory, mode=0o700, exist_ok=True)
        spec_file.write(directory, spec)

    def attach(self, machine: MachineId, disk: Disk) -> DiskReference:
        """The drive that it was started with."""
        return DiskReference(serial=qemu_command.DISK_SERIAL)

    def tcp_socket(self, machine: MachineId, family: socket.AddressFamily) -> socket.socket | None:
        """The guest's network is the guest's kernel's."""
        return None

    def udp_socket(self, machine: MachineId) -> socket.socket | None:
        """As `tcp_socket`."""
        return None

    def ask(self, machine: MachineId) -> None:
        """The agent's loop, at a port without limits."""
        dial.connect(self.dial_path(machine), ports.PORT_HEALTH, _QMP_S).close()

    def grow_disk(self, machine: MachineId, size_bytes: int) -> None:
        """Tell a machine that runs that its volume has grown; `PUT /v1/world` then has the filesystem follow."""
        self._grow(machine, qemu_command.DISK_NODE, size_bytes)

    def grow_drive(self, machine: MachineId, number: int, size_bytes: int) -> None:
        """As `grow_disk`; `PUT /v1/disks/{name}` has the filesystem follow."""
        self._grow(machine, qemu_command.drive_node(number), size_bytes)

    def _grow(self, machine: MachineId, node: str, size_bytes: int) -> None:
        with qmp.connect(self._path(machine, qemu_command.QMP_SOCKET), _QMP_S) as control:
            control.execute("block_resize", {"node-name": node, "size": size_bytes})

    def drive(self, number: int) -> DiskReference:
        return DiskReference(serial=qemu_command.DRIVE_SERIAL.format(number))

    def start(
        self, machine: MachineId, disk: Disk | None = None, link: Link | None = None, drives: Sequence[Disk] = ()
    ) -> DiskReference | None:
        if len(drives) > qemu_command.MOST_DRIVES:
            raise errors.HostError(
                f"start machine {machine}: {len(drives)} drives; it has room for {qemu_command.MOST_DRIVES}"
            )
        spec = spec_file.read(self._path(machine))
        self.thaw(machine)
        if self.status(machine) is MachineStatus.RUNNING:
            background.start_mux(self._path(machine))
            self._place(machine)
            self._answers(self._path(machine), self._patience.clone_s)
        else:
            with _drive(disk) as disk_fd, _files(drives) as drive_fds, _card(link) as tap_fd:
                shape = self._shape(self._path(machine), spec)
                whole = dataclasses.replace(shape, disk_fd=disk_fd, tap_fd=tap_fd, drive_fds=drive_fds)
                sizes = template.Sizes(_size_of(disk_fd), tuple(map(_size_of, drive_fds)))
                if self.status(machine) is MachineStatus.SUSPENDED:
                    self._resume(machine, whole)
                else:
                    of = template.ensure(self._templates, whole, sizes, self._boot_template)
                    self._persist(f"start machine {machine}", lambda: self._clone(machine, of, whole))
        return self.attach(machine, disk) if disk else None

    def rejoin(self, machine: MachineId, link: Link) -> None:
        """A card keeps the tap that it was started with, and comes back from a world that has ended by itself."""

    def status(self, machine: MachineId) -> MachineStatus:
        if not spec_file.exists(self._path(machine)):
            return MachineStatus.ABSENT
        directory = self._path(machine)
        if background.runs(directory) and self._cgroup(machine).frozen():
            return MachineStatus.FROZEN  # and its control socket does not answer
        if memory.is_there(directory):
            return MachineStatus.SUSPENDED
        if not background.runs(directory):
            return MachineStatus.STOPPED
        # One whose memory is being written has an ear for nobody else.
        runs = memory.is_being_written(directory) or not background.is_half_made(directory)
        return MachineStatus.RUNNING if runs else MachineStatus.STOPPED

    def usage(self, machine: MachineId) -> Usage | None:
        """QEMU's and its mux's."""
        if self.status(machine) not in (MachineStatus.RUNNING, MachineStatus.FROZEN):
            return None
        return counters.usage_of(self._cgroup(machine).stats())

    def stop(self, machine: MachineId) -> None:
        """One that hangs while its memory is written is not asked."""
        self._cgroup(machine).thaw()
        if self._goes_on(machine) and self.status(machine) is MachineStatus.RUNNING:
            self._shut_down(machine)
        background.kill(self._path(machine))
        memory.forget(self._path(machine))
        self._drop_cgroup(machine)

    def _goes_on(self, machine: MachineId) -> bool:
        try:
            memory.go_on(self._path(machine), memory.STOP_S)
        except errors.PilotError as error:
            log.warning("machine is killed while it is suspended", extra={"machine": machine, "error": str(error)})
            return False
        return True

    def _drop_cgroup(self, machine: MachineId) -> None:
        group = self._cgroup(machine)
        group.kill()
        group.delete()

    def resize(self, spec: MachineSpec) -> bool:
        """A guest has what it was started with."""
        return False

    def freeze(self, machine: MachineId) -> None:
        """QEMU and its mux: no virtual processor runs, and the guest finds that time has passed."""
        if self.status(machine) is MachineStatus.RUNNING:
            self._place(machine)
            self._cgroup(machine).freeze()

    def suspend(self, machine: MachineId) -> None:
        """One that there is no room on disk for only stands still, and one that an older pilot has started, as of its
        command line nothing is written down."""
        directory = self._path(machine)
        try:
            with open(os.path.join(directory, _SHAPE), encoding="ascii") as file:
                shape = file.read()
        except FileNotFoundError:
            self.freeze(machine)
            return
        status = self.status(machine)
        if status is MachineStatus.RUNNING:
            with self._room.promised(spec_file.read(directory).memory_bytes) as fits:
                if not fits:
                    log.warning("machine suspended in RAM: no room on disk for it", extra={"machine": machine})
                    self.freeze(machine)
                    return
                memory.save(directory, shape)
        if status in (MachineStatus.RUNNING, MachineStatus.SUSPENDED):
            background.kill(directory)  # which whoever has written it may have died before
            self._drop_cgroup(machine)

    def thaw(self, machine: MachineId) -> None:
        self._cgroup(machine).thaw()
        memory.go_on(self._path(machine))

    def _cgroup(self, machine: MachineId) -> cgroups.Cgroup:
        return cgroups.Cgroup(hierarchies.probe_hierarchies().paths(f"{self._group}/{machine}"))

    def destroy(self, machine: MachineId) -> None:
        self.stop(machine)
        if os.path.isdir(self._path(machine)):
            shutil.rmtree(self._path(machine))

    def dial_path(self, machine: MachineId) -> str:
        return self._path(machine, mux.DIAL_SOCKET)

    def outward_path(self, machine: MachineId) -> str:
        return self._path(machine, mux.OUT_SOCKET)

    # -- the pieces

    def _path(self, machine: MachineId, *names: str) -> str:
        return os.path.join(self._machines, machine, *names)

    def _clone(self, machine: MachineId, of: str, whole: qemu_command.Machine) -> None:
        # What a start that was interrupted has left.
        background.kill(whole.directory)
        memory.forget(whole.directory)  # of another boot of the host
        with _killed_on_error(whole.directory):
            template.clone(of, whole)
            self._started(machine, whole)

    def _resume(self, machine: MachineId, whole: qemu_command.Machine) -> None:
        background.kill(whole.directory)
        with _killed_on_error(whole.directory):
            memory.take_up(whole, template.digest(whole))
        self._started(machine, whole)  # it runs: one that is slow to answer is asked again, and keeps what it remembers

    def _started(self, machine: MachineId, whole: qemu_command.Machine) -> None:
        self._place(machine)
        files.replace(os.path.join(whole.directory, _SHAPE), template.digest(whole).encode())
        self._answers(whole.directory, self._patience.clone_s)

    def _place(self, machine: MachineId) -> None:
        """Move the machine's processes into its cgroup."""
        group = cgroups.Cgroup.create(hierarchies.probe_hierarchies(), f"{self._group}/{machine}")
        for pid in background.pids(self._path(machine)):
            group.add(pid)

    def _boot_template(self, machine: qemu_command.Machine) -> None:
        def boot() -> None:
            with _killed_on_error(machine.directory):
                background.start_qemu(machine)
                background.start_mux(machine.directory)
                self._answers(machine.directory, self._patience.boot_s)
                self._prepared(machine.directory, self._patience.boot_s)

        self._persist("boot a template", boot)

    def _shape(self, directory: str, spec: MachineSpec) -> qemu_command.Machine:
        ram = qemu_command.Memory(spec.memory_bytes)
        return qemu_command.Machine(directory, self._artefacts(), self._host(), ram, spec.cpus, uid=spec.uid_base)

    def _persist(self, what: str, act: Callable[[], None]) -> None:
        """Act again when the machine did not answer in time, which may be chance; any other error is not."""
        for left in reversed(range(self._patience.boots)):
            try:
                act()
            except errors.PeerError as error:
                if not left:
                    raise errors.PeerError(f"{what}: {error}", hint="see console.log and mux.log") from error
            else:
                break

    def _answers(self, directory: str, timeout_s: float) -> None:
        dial.connect(os.path.join(directory, mux.DIAL_SOCKET), ports.PORT_API, timeout_s).close()

    def _prepared(self, directory: str, timeout_s: float) -> None:
        """What the agent loads late it has loaded, for all clones: else each loads it anew, and its world waits."""
        api = pilot_api.PilotApi(os.path.join(directory, mux.DIAL_SOCKET))
        end_s = time.monotonic() + timeout_s
        while not api.status().prepared:
            if time.monotonic() > end_s:
                raise errors.PeerError(f"its agent has not prepared within {timeout_s:g} s")
            time.sleep(_PAUSE_S)

    def _shut_down(self, machine: MachineId) -> None:
        """Ask the agent and wait until the machine has gone by itself; the caller kills one that has not."""
        try:
            pilot_api.PilotApi(self.dial_path(machine)).call(operations.SHUTDOWN, schema.ShutdownRequest())
        except errors.PilotError:
            # An agent that does not answer cannot be asked.
            return
        background.wait_ended(self._path(machine), self._patience.stop_s)


@contextlib.contextmanager
def _drive(disk: Disk | None) -> Iterator[int]:
    """A descriptor of the disk's file, or of an empty one: a drive is part of every machine's shape."""
    if disk is None:
        with template.empty_disk(_NO_DISK_BYTES) as empty_fd:
            yield empty_fd
        return
    disk_fd = disk.file()
    try:
        yield disk_fd
    finally:
        os.close(disk_fd)


@contextlib.contextmanager
def _files(drives: Sequence[Disk]) -> Iterator[tuple[int, ...]]:
    with contextlib.ExitStack() as stack:
        found = []
        for each in drives:
            found.append(each.file())
            stack.callback(os.close, found[-1])
        yield tuple(found)


def _size_of(fd: int) -> int:
    return os.lseek(fd, 0, os.SEEK_END)


@contextlib.contextmanager
def _card(link: Link | None) -> Iterator[int | None]:
    """A descriptor of the tap that leads to the machine's gateway; None, and no card, without a network."""
    if link is None:
        yield None
        return
    tap_fd = link.tap()
    try:
        yield tap_fd
    finally:
        os.close(tap_fd)


@contextlib.contextmanager
def _killed_on_error(directory: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        background.kill(directory)
        raise
