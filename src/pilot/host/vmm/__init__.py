"""The machine substrates behind one interface: what `operations` may ask of a machine, whatever it is made of.

A machine is made once (`create`), then started and stopped as often as wanted; `destroy` leaves nothing. Each method is
idempotent and synchronous; callers on asyncio use a thread. Status is asked of the kernel, never remembered, so a
restarted pilotd finds the machines that outlived it by calling the same methods.

    container   a user-namespaced outer container made by our own runtime   disk: a mount, passed by port 10001
    qemu        a micro-VM                                                  disk: a drive of its own
"""

from __future__ import annotations

import dataclasses
import enum
import socket
from collections.abc import Sequence
from typing import Protocol

from ... import errors
from ...ids import MachineId
from ...wire.schema import DiskReference


class Isolation(enum.Enum):
    """What stands between a machine and the host; the order is that of strength."""

    CONTAINER = "container"
    VM = "vm"


class MachineStatus(enum.Enum):
    ABSENT = "absent"
    STOPPED = "stopped"
    RUNNING = "running"
    FROZEN = "frozen"
    # Nothing of it runs, and its next start goes on where it was.
    SUSPENDED = "suspended"


class Unresumable(errors.HostError):
    """What a machine that is suspended had in its memory cannot be taken up, neither now nor later."""


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a machine. `pids`: processes and threads, where the machine's are the host's, too (container)."""

    memory_bytes: int = 2 << 30
    cpus: int = 2
    pids: int = 4096


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of a machine, all that serves it included; times and peaks since its start."""

    cpu_s: float
    memory_bytes: int
    memory_peak_bytes: int
    processes: int


@dataclasses.dataclass(frozen=True)
class MachineSpec:
    """What a machine is made from. `uid_base`: first of the 65536 host uids that are its own (container)."""

    id: MachineId
    uid_base: int
    memory_bytes: int = Size.memory_bytes
    cpus: int = Size.cpus
    pids: int = Size.pids


class Disk(Protocol):
    """A volume for a machine. Each call attaches it anew: whoever had it before has let go when it returns.

    The descriptor is the caller's to close.
    """

    def mount(self, uid_base: int, uid_count: int) -> int:
        """A detached mount of it, whose owners are the host's uids from `uid_base` on."""
        ...

    def file(self) -> int:
        """The file that a drive is."""
        ...


class Link(Protocol):
    """A network for a machine. Each call links it anew: whatever was linked before is not any more."""

    def join(self, pid: int) -> None:
        """The network namespace of that process is the machine's."""
        ...

    def tap(self) -> int:
        """The descriptor of a tap, which is the caller's to close."""
        ...


class Vmm(Protocol):
    """See the module. Errors: `HostError` (this host cannot), `NotFound` (no such machine), `PeerError` (no answer)."""

    @property
    def isolation(self) -> Isolation: ...

    @property
    def mounts_in_guest(self) -> bool:
        """Whether the machine's own kernel mounts the disk. Then it alone can freeze it, and the drive stays its own
        until it stops."""
        ...

    def max_processes(self, spec: MachineSpec) -> int:
        """How many of the host's process numbers that machine may take."""
        ...

    def create(self, spec: MachineSpec) -> None: ...

    def start(
        self, machine: MachineId, disk: Disk | None = None, link: Link | None = None, drives: Sequence[Disk] = ()
    ) -> DiskReference | None:
        """Returns when dial answers CONNECT 10000 and the agent has the disk: where it finds it.

        `drives`: what the machine's own kernel is to mount beside it (`drive`); ignored where disks come as mounts.

        It has its network before anything runs in it. One that runs already keeps what it has, as far as `attach` and
        `rejoin` leave it. One that is suspended goes on; `Unresumable` when it never can: after `stop` it begins
        anew. With any other error it is as it was, or has forgotten what it remembered: its status says which.
        """
        ...

    def rejoin(self, machine: MachineId, link: Link) -> None:
        """Link a machine that runs anew; nothing where that needs a new start."""
        ...

    def ask(self, machine: MachineId) -> None:
        """Whether it is there, asked at what its clients cannot block. `PeerError` when nobody answers."""
        ...

    def attach(self, machine: MachineId, disk: Disk) -> DiskReference:
        """Give the disk to the agent of a machine that runs; anew, where it was not a part of the machine."""
        ...

    def drive(self, number: int) -> DiskReference:
        """Where the agent finds one of `drives`. `StateError` where disks come as mounts."""
        ...

    def grow_drive(self, machine: MachineId, number: int, size_bytes: int) -> None:
        """As `grow_disk`, of one of `drives`."""
        ...

    def grow_disk(self, machine: MachineId, size_bytes: int) -> None:
        """Tell a machine that runs that its volume has grown. `StateError` where it must be stopped for that."""
        ...

    def resize(self, spec: MachineSpec) -> bool:
        """Give a machine that runs another size, and whoever starts it next; False: nothing was done, for it does not
        run, or has its size until it stops. `HostError` when the kernel refuses, as for less memory than is in use."""
        ...

    def freeze(self, machine: MachineId) -> None:
        """Every process of it stands still, and its memory stays. `HostError` when that cannot be; then it runs on."""
        ...

    def suspend(self, machine: MachineId) -> None:
        """As `freeze`, for long: where it can be its memory goes to disk, and nothing of it runs (SUSPENDED); then its
        disks are free until `start`, which wants the same. `HostError` when that cannot be; then it runs on, or is
        SUSPENDED and not ended yet: asked again, this ends it."""
        ...

    def thaw(self, machine: MachineId) -> None:
        """It goes on where it was; nothing for one that is not frozen, but that was being suspended."""
        ...

    def status(self, machine: MachineId) -> MachineStatus: ...

    def usage(self, machine: MachineId) -> Usage | None:
        """None of one that does not run."""
        ...

    def stop(self, machine: MachineId) -> None:
        """Asks first, kills when it does not stop in time. The disk is not detached from `volumed`: the caller does."""
        ...

    def destroy(self, machine: MachineId) -> None: ...

    def dial_path(self, machine: MachineId) -> str: ...

    def outward_path(self, machine: MachineId) -> str:
        """Where whoever answers what the machine asks its host has to listen (`wire.outward`); it may be bound anew."""
        ...

    def tcp_socket(self, machine: MachineId, family: socket.AddressFamily) -> socket.socket | None:
        """An unconnected TCP socket in the network that the machine's programs listen in: its loopback is theirs.

        None where that is beyond this host's kernel: then `dial` leads to TCP ports. `NotFound` when it does not run.
        """
        ...

    def udp_socket(self, machine: MachineId) -> socket.socket | None:
        """The same, of UDP on IPv4; where there is none, its agent's proxy leads to UDP ports."""
        ...
