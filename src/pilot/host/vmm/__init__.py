"""The machine substrates behind one interface: what `operations` may ask of a machine, whatever it is made of.

A machine is made once (`create`), then started and stopped as often as wanted; `destroy` leaves nothing. Each method is
idempotent and synchronous; callers on asyncio use a thread. Status is asked of the kernel, never remembered, so a
restarted pilotd finds the machines that outlived it by calling the same methods.

    container   a user-namespaced outer container made by our own runtime   disk: after start, by port 10001
    qemu        a micro-VM                                                  disk: before start, a drive
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Protocol

from ...ids import MachineId, VolumeId
from ...wire.schema import DiskReference


class Isolation(enum.Enum):
    """What stands between a machine and the host; the order is that of strength."""

    CONTAINER = "container"
    VM = "vm"


class MachineStatus(enum.Enum):
    ABSENT = "absent"
    STOPPED = "stopped"
    RUNNING = "running"


@dataclasses.dataclass(frozen=True)
class MachineSpec:
    """What a machine is made from. `uid_base`: first of the 65536 host uids that are its own (container)."""

    id: MachineId
    uid_base: int
    memory_bytes: int = 2 << 30
    cpus: int = 2


class Volumes(Protocol):
    """The part of `pilot.volume.client.VolumeClient` that a substrate uses."""

    def attach(self, volume: VolumeId, uid_base: int, uid_count: int) -> int: ...

    def attach_file(self, volume: VolumeId) -> int: ...


class Vmm(Protocol):
    """See the module. Errors: `HostError` (this host cannot), `NotFound` (no such machine), `PeerError` (no answer)."""

    @property
    def isolation(self) -> Isolation: ...

    @property
    def disk_before_start(self) -> bool:
        """Whether `attach_disk` is called before `start` (a drive), or after it (a mount passed to the agent)."""
        ...

    def create(self, spec: MachineSpec) -> None: ...

    def start(self, machine: MachineId) -> None:
        """Returns when dial answers CONNECT 10000."""
        ...

    def status(self, machine: MachineId) -> MachineStatus: ...

    def stop(self, machine: MachineId) -> None:
        """Asks first, kills when it does not stop in time. The disk is not detached from `volumed`: the caller does."""
        ...

    def destroy(self, machine: MachineId) -> None: ...

    def dial_path(self, machine: MachineId) -> str: ...

    def attach_disk(self, machine: MachineId, volumes: Volumes, volume: VolumeId) -> DiskReference: ...
