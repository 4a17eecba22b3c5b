"""Steps on machines, whatever they are for: what sprites are made of, and whatever else has a machine.

make      row with its uids → made on its substrate, not started
freeze    every process of it stands still; thaw: and goes on
is_up     one that runs and answers is left alone; one that runs and has been silent for long (`silence`) is stopped
start     with the disk and its network
down      stop
destroy   stop → nothing of it is left on its substrate; the row is its owner's to delete

Each is idempotent and knows the machine by its row, and so on which substrate it is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager

from ... import errors
from ...ids import MachineId
from ...machine.pilot_api import PilotApi
from ...wire import faults
from ...wire.schema import DiskReference
from ..store import machines
from ..store.machines import Machine
from ..store.sprites import Config
from ..vmm import Disk, Isolation, MachineSpec, MachineStatus, Size
from . import networks, silence
from .context import Host

log = logging.getLogger(__name__)


def size_of(host: Host, config: Config) -> Size:
    """What `config` asks for; the rest is as this host has it."""
    usual = host.usual_size
    memory_bytes = config.ram_mb << 20 if config.ram_mb else usual.memory_bytes
    return Size(memory_bytes, config.cpus or usual.cpus, config.pids or usual.pids)


def config_of(host: Host, size: Size) -> Config:
    """The configuration that asks for it."""
    usual = host.usual_size
    ram_mb = None if size.memory_bytes == usual.memory_bytes else size.memory_bytes >> 20
    cpus = None if size.cpus == usual.cpus else size.cpus
    return Config(ram_mb, cpus, pids=None if size.pids == usual.pids else size.pids)


def size_now(machine: Machine) -> Size:
    """What its row says."""
    return Size(machine.memory_bytes, machine.cpus, machine.pids)


def spec_of(machine: Machine) -> MachineSpec:
    return MachineSpec(machine.id, machine.uid_base, machine.memory_bytes, machine.cpus, machine.pids)


def isolation_of(host: Host, id: MachineId) -> Isolation | None:
    """What its row says, where there is one."""
    try:
        return Isolation(machines.find(host.database, id).isolation)
    except errors.NotFound:
        return None


def make(host: Host, machine: Machine) -> None:
    host.substrate(machine.id).create(spec_of(machine))


def is_running(host: Host, id: MachineId) -> bool:
    """Also one that is frozen."""
    return host.substrate(id).status(id) in (MachineStatus.RUNNING, MachineStatus.FROZEN)


def is_frozen(host: Host, id: MachineId) -> bool:
    return host.substrate(id).status(id) is MachineStatus.FROZEN


def freeze(host: Host, id: MachineId) -> None:
    """`HostError` when it cannot be now; then it runs on."""
    host.substrate(id).freeze(id)


def suspend(host: Host, id: MachineId) -> None:
    """As `freeze`, for long. One whose memory is on disk has no disks meanwhile; it stays in RAM for want of room."""
    host.substrate(id).suspend(id)


def is_suspended(host: Host, id: MachineId) -> bool:
    """Nothing of it runs, and its next start goes on where it was."""
    return host.substrate(id).status(id) is MachineStatus.SUSPENDED


def thaw(host: Host, id: MachineId) -> None:
    """Whatever it was before, it is not frozen."""
    host.substrate(id).thaw(id)


def is_up(host: Host, id: MachineId) -> bool:
    """Whether it runs and answers. `Unavailable` when it runs and does not, so that it is asked again, in a while.

    One that has been silent for long is stopped: it has no memory left, or was stopped, and helps nobody.
    """
    if not is_running(host, id):
        return False
    try:
        PilotApi(host.substrate(id).dial_path(id)).status()
    except errors.PeerError as error:
        if not host.silences.note(id, _patience_s(host, id)):
            raise faults.Unavailable(f"machine {id} is busy: {error}", hint="try again in a while") from error
        log.warning("machine has been silent for long, it is stopped", extra={"machine": id, "error": str(error)})
        down(host, id)
        return False
    except errors.PilotError:
        pass  # it refuses, which is an answer
    host.silences.end(id)
    return True


def _patience_s(host: Host, id: MachineId) -> float:
    """How long it may say nothing: longer where init answers, whom nothing that the agent is busy with can hold up."""
    try:
        host.substrate(id).ask(id)
    except errors.PeerError:
        return silence.LONG_S
    return silence.AGENT_LONG_S


def start(host: Host, id: MachineId, disk: Disk | None = None, drives: Sequence[Disk] = ()) -> DiskReference | None:
    """It answers, and this is where its agent finds the disk. `UserFault` when the host has no room for it."""
    substrate = host.substrate(id)
    answer(host, id)
    with (
        admitted(host, machines.find(host.database, id)),
        networks.linking(host, id) as link,
    ):
        return substrate.start(id, disk, link, drives)


def admitted(host: Host, machine: Machine) -> AbstractContextManager[None]:
    """While it is made to run, or to be, as large as that row says. `UserFault` when there is no room for it."""
    return host.capacity.admitted(machine.id, _max_processes(host, machine), lambda: _running(host))


def answer(host: Host, id: MachineId) -> None:
    """What the machine asks of this host is heard."""
    if host.outward is not None:
        host.outward.ensure(id, host.substrate(id).outward_path(id))


def answer_all(host: Host) -> None:
    """Those that an earlier pilotd left, too."""
    for row in machines.every(host.database):
        answer(host, row.id)


def _running(host: Host) -> dict[MachineId, int]:
    """The machines that run now, with what each may take of the host's process numbers."""
    rows = machines.every(host.database)
    return {row.id: _max_processes(host, row) for row in rows if is_running(host, row.id)}


def _max_processes(host: Host, machine: Machine) -> int:
    return host.substrate(machine.id).max_processes(spec_of(machine))


def down(host: Host, id: MachineId) -> None:
    host.substrate(id).stop(id)
    host.silences.end(id)


def destroy(host: Host, id: MachineId) -> None:
    try:
        substrate = host.substrate(id)
    except errors.NotFound:
        return  # its row has gone, which goes last
    substrate.stop(id)
    if host.outward is not None:
        host.outward.remove(id)
    substrate.destroy(id)
    networks.remove(host, id)
    host.forget(id)
