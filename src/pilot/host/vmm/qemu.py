"""Machines that are virtual machines of QEMU.

    <state-dir>/machines/<id>/
        machine.json    what it was made from
        console.log     the serial console, all boots
        qemu.pid        locked by QEMU while it runs         qmp.sock    its control socket
        mux.pid         locked by the mux while it runs      port.sock   the guest's port, between QEMU and the mux
        mux.log         what the mux had to say              dial.sock   the machine's ports, for everybody

QEMU and the mux are nobody's children: they outlive pilotd, and are found again by the locks on their pid files. The
mux follows QEMU into death; when it dies alone, `start` brings a new one. A boot that does not answer in time is killed
and tried again: under a loaded translator a guest can hang for good.

The disk is a drive and so has to be there before the start; its descriptor is kept here between the two calls.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ... import errors
from ...ids import MachineId, VolumeId
from ...wire import dial as ports
from .. import dial, pilot_api
from . import DiskReference, Isolation, MachineSpec, MachineStatus, Volumes, mux, pidfile, qemu_command

_SPEC = "machine.json"
_MUX_LOG = "mux.log"
_QEMU_SETUP_S = 30.0
_MUX_SETUP_S = 20.0
_QMP_S = 5.0
# Of a Unix socket's name, with its final NUL.
_MAX_SOCKET_PATH = 107


@dataclass(frozen=True)
class Patience:
    """How long what may take, in seconds. A boot takes 3 s under TCG, on a busy host several times that."""

    boot_s: float = 40.0
    boots: int = 3
    stop_s: float = 15.0
    kill_s: float = 10.0


class Qemu:
    """A `Vmm`. `artefacts` and `host` are asked at each start, so a new image serves the next boot."""

    isolation = Isolation.VM
    disk_before_start = True

    def __init__(
        self,
        state_dir: str,
        artefacts: Callable[[], qemu_command.Artefacts],
        host: Callable[[], qemu_command.Host],
        *,
        patience: Patience | None = None,
    ) -> None:
        self._root = os.path.join(state_dir, "machines")
        self._artefacts = artefacts
        self._host = host
        self._patience = patience or Patience()
        self._disks: dict[MachineId, int] = {}

    def create(self, spec: MachineSpec) -> None:
        directory = self._path(spec.id)
        if len(os.path.join(directory, mux.DIAL_SOCKET + ".new")) > _MAX_SOCKET_PATH:
            raise errors.HostError(
                f"create machine {spec.id}: {directory}: too long for a socket", hint="use a shorter --state-dir"
            )
        os.makedirs(directory, mode=0o700, exist_ok=True)
        temporary = os.path.join(directory, _SPEC + ".new")
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(spec))
        os.rename(temporary, os.path.join(directory, _SPEC))

    def attach_disk(self, machine: MachineId, volumes: Volumes, volume: VolumeId) -> DiskReference:
        """Take the volume's file for the next start. A machine that runs has its drive already."""
        if self.status(machine) is not MachineStatus.RUNNING:
            self._drop_disk(machine)
            self._disks[machine] = volumes.attach_file(volume)
        return DiskReference(serial=qemu_command.DISK_SERIAL)

    def start(self, machine: MachineId) -> None:
        spec = self._spec(machine)
        if self.status(machine) is MachineStatus.RUNNING:
            self._start_mux(machine)
            self._answers(machine, self._patience.boot_s)
            return
        for left in reversed(range(self._patience.boots)):
            try:
                self._boot(machine, spec)
                break
            except errors.PeerError as error:
                if not left:
                    console = self._path(machine, qemu_command.CONSOLE)
                    raise errors.PeerError(f"start machine {machine}: {error}", hint=f"see {console}") from error
        self._drop_disk(machine)

    def status(self, machine: MachineId) -> MachineStatus:
        if not os.path.exists(self._path(machine, _SPEC)):
            return MachineStatus.ABSENT
        running = pidfile.find(self._path(machine, qemu_command.PID)) is not None
        return MachineStatus.RUNNING if running else MachineStatus.STOPPED

    def stop(self, machine: MachineId) -> None:
        if self.status(machine) is MachineStatus.RUNNING and not self._shut_down(machine):
            self._kill(machine)
        self._end_mux(machine)

    def destroy(self, machine: MachineId) -> None:
        self.stop(machine)
        self._drop_disk(machine)
        if os.path.isdir(self._path(machine)):
            shutil.rmtree(self._path(machine))

    def dial_path(self, machine: MachineId) -> str:
        return self._path(machine, mux.DIAL_SOCKET)

    def qmp_path(self, machine: MachineId) -> str:
        """QEMU's control socket."""
        return self._path(machine, qemu_command.QMP_SOCKET)

    # -- the pieces

    def _path(self, machine: MachineId, *names: str) -> str:
        return os.path.join(self._root, machine, *names)

    def _spec(self, machine: MachineId) -> MachineSpec:
        try:
            with open(self._path(machine, _SPEC), "rb") as file:
                return msgspec.json.decode(file.read(), type=MachineSpec)
        except FileNotFoundError as error:
            raise errors.NotFound(f"start machine {machine}: there is no such machine") from error

    def _boot(self, machine: MachineId, spec: MachineSpec) -> None:
        """One boot; nothing of it is left when the agent does not answer in time."""
        try:
            self._launch(machine, spec)
            self._start_mux(machine)
            self._answers(machine, self._patience.boot_s)
        except BaseException:
            self._kill(machine)
            raise

    def _launch(self, machine: MachineId, spec: MachineSpec) -> None:
        disk_fd = self._disks.get(machine)
        command = qemu_command.command_line(
            qemu_command.Machine(
                directory=self._path(machine),
                artefacts=self._artefacts(),
                host=self._host(),
                memory=qemu_command.Memory(spec.memory_bytes),
                cpus=spec.cpus,
                disk_fd=disk_fd,
            )
        )
        run_to_background(command, () if disk_fd is None else (disk_fd,))

    def _start_mux(self, machine: MachineId) -> None:
        if pidfile.find(self._path(machine, mux.PID)) is None:
            start_mux(self._path(machine), self._path(machine, _MUX_LOG))

    def _answers(self, machine: MachineId, timeout_s: float) -> None:
        dial.connect(self.dial_path(machine), ports.PORT_API, timeout_s).close()

    def _shut_down(self, machine: MachineId) -> bool:
        """Ask the agent; whether the machine has gone by itself."""
        try:
            pilot_api.PilotApi(self.dial_path(machine)).shutdown()
        except errors.PilotError:
            # An agent that does not answer cannot be asked; the machine is killed.
            return False
        return pidfile.wait(self._path(machine, qemu_command.PID), self._patience.stop_s)

    def _kill(self, machine: MachineId) -> None:
        path = self._path(machine, qemu_command.PID)
        if not pidfile.end(path, signal.SIGKILL, self._patience.kill_s):
            raise errors.HostError(f"kill machine {machine}: QEMU is still there after {self._patience.kill_s:.0f} s")
        self._end_mux(machine)

    def _end_mux(self, machine: MachineId) -> None:
        """It ends by itself when QEMU closes the port; one that does not is killed."""
        path = self._path(machine, mux.PID)
        if not pidfile.wait(path, self._patience.kill_s):
            pidfile.end(path, signal.SIGKILL, self._patience.kill_s)

    def _drop_disk(self, machine: MachineId) -> None:
        disk_fd = self._disks.pop(machine, None)
        if disk_fd is not None:
            os.close(disk_fd)


def run_to_background(command: list[str], fds: tuple[int, ...] = ()) -> None:
    """Run QEMU until it has gone to the background; `HostError` with its words when it cannot be set up."""
    if shutil.which(command[0]) is None:
        raise errors.HostError(f"run {command[0]}: no such program", hint="apt-get install qemu-system-x86")
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, pass_fds=fds, timeout=_QEMU_SETUP_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise errors.HostError(f"run QEMU: not set up after {_QEMU_SETUP_S:.0f} s") from error
    if done.returncode != 0:
        raise errors.HostError(f"run QEMU: {done.stderr.decode(errors='replace').strip()}")


def start_mux(directory: str, log: str) -> None:
    """Start the mux of the machine in `directory`, as nobody's child; returns when dial.sock is served."""
    command = ["setsid", "--fork", sys.executable, "-P", "-m", mux.__name__, directory]
    with open(log, "ab") as log_file:
        starter = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log_file)
    with starter:
        assert starter.stdout is not None
        # `ready`, or the end of file: it could not serve, or another one serves already.
        select.select([starter.stdout], [], [], _MUX_SETUP_S)
    if pidfile.find(os.path.join(directory, mux.PID)) is None:
        raise errors.HostError(f"start the mux in {directory}: it did not stay", hint=f"see {log}")
