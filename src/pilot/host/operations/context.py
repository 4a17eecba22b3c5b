"""What the steps of all operations share: the store, the volumes, the substrate, and which worlds are known to run."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ... import errors
from ...ids import CheckpointId, MachineId, VolumeId
from ...machine.pilot_api import PilotApi
from ...volume.client import Status, Volume
from ..fly.pulling import Images
from ..fly.vault import Vault
from ..fsm.outcome import UserFault
from ..network.addresses import Ends
from ..network.connectors.uses import Use
from ..network.service import Member, Report
from ..store import machines, sprites
from ..store.database import Database
from ..store.machines import Machine
from ..store.sprites import Sprite
from ..vmm import Isolation, Size, Vmm
from ..vmm.substrates import Substrates
from .capacity import Capacity
from .children import Children
from .silence import Silences
from .uses import Uses


class Cut(Protocol):
    """A checkpoint as `volumed` reports it."""

    @property
    def frozen_ms(self) -> float: ...
    @property
    def clean(self) -> bool: ...


class Point(Cut, Protocol):
    """One of the checkpoints that a volume has."""

    @property
    def id(self) -> CheckpointId: ...
    @property
    def comment(self) -> str | None: ...
    @property
    def created_at(self) -> float: ...


class VolumeService(Protocol):
    """`pilot.volume.client.VolumeClient`, as far as operations use it (joints §6)."""

    def create(self, volume: VolumeId, size_bytes: int) -> object: ...
    def fork(self, source: VolumeId, volume: VolumeId, checkpoint: CheckpointId | None = None) -> object: ...
    def limit(self, volume: VolumeId, quota_bytes: int | None) -> object: ...
    def resize(self, volume: VolumeId, size_bytes: int) -> object: ...
    def status(self) -> Status: ...
    def list(self) -> Sequence[Volume]: ...
    def delete(self, volume: VolumeId) -> object: ...
    def seal(self, volume: VolumeId) -> object: ...
    def stat(self, volume: VolumeId) -> Volume: ...
    def adopt(self, volume: VolumeId, url: str | None = None) -> object: ...
    def attach(self, volume: VolumeId, uid_base: int, uid_count: int) -> int: ...
    def attach_file(self, volume: VolumeId) -> int: ...
    def detach(self, volume: VolumeId) -> object: ...
    def restore(self, volume: VolumeId, checkpoint: CheckpointId) -> object: ...
    def checkpoints(self, volume: VolumeId) -> Sequence[Point]: ...
    def delete_checkpoint(self, volume: VolumeId, checkpoint: CheckpointId) -> object: ...
    def checkpoint(
        self, volume: VolumeId, comment: str | None = None, checkpoint: CheckpointId | None = None
    ) -> Cut: ...


class Networks(Protocol):
    """The part of `network.service.Networks` that operations use."""

    @property
    def capacity(self) -> int: ...
    @property
    def inside(self) -> Sequence[Ends]: ...
    def taken_numbers(self) -> frozenset[int]: ...
    def ensure(self, member: Member) -> None: ...
    def connect(self, member: Member, machine_pid: int) -> None: ...
    def connect_tap(self, member: Member) -> int: ...
    def is_connected(self, member: Member) -> bool: ...
    def refresh(self, machine: MachineId, member: Callable[[], Member]) -> None: ...
    def report(self, machine: MachineId) -> Report: ...
    def traffic(self, machine: MachineId) -> Mapping[str, int]: ...
    def uses(self, machine: MachineId, connector: str) -> Sequence[Use]: ...
    def remove(self, machine: MachineId, number: int | None) -> None: ...


class Outward(Protocol):
    """The part of `host.outward.sockets.Outward` that operations use: where machines ask this host."""

    def ensure(self, machine: MachineId, path: str) -> None: ...
    def remove(self, machine: MachineId) -> None: ...


class Worlds:
    """The sprites whose world is known to run. A memory: who finds it wrong drops the entry and wakes."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def mark(self, sprite: str) -> None:
        with self._lock:
            self._running.add(sprite)

    def drop(self, sprite: str) -> None:
        with self._lock:
            self._running.discard(sprite)

    def __contains__(self, sprite: str) -> bool:
        with self._lock:
            return sprite in self._running


@dataclasses.dataclass(frozen=True)
class Host:
    """`isolation`: of machines that nobody wants another one for.

    `build_archive()` returns the path of the tar that the base volume of `variant` is made from.

    `networks`: without it machines have none; `outward`: without it machines ask nobody.

    `usual_size`: of a machine of which nobody says another.

    `quota_bytes`: of real bytes, for a disk that nobody wants another one for; None: what there is.
    `keep_free_bytes`: with less room than that on the host's disk no sprite is made.

    `scratch`: a directory of that disk for files without a name (None: the system's own).
    `images`: where those of Machines come from; `children`: runs that a step waits for.

    `vault`: what secrets of apps are sealed with; without it there are none.

    `store_owner`: with an object store, what tells this pilotd's base volumes apart in it from those of others.
    """

    database: Database
    volumes: VolumeService
    substrates: Substrates
    isolation: Isolation
    variant: str
    build_archive: Callable[[], str]
    usual_size: Size = dataclasses.field(default_factory=Size)
    disk_bytes: int = 100 << 30
    quota_bytes: int | None = None
    keep_free_bytes: int = 0
    scratch: str | None = None
    store_owner: str | None = None
    networks: Networks | None = None
    outward: Outward | None = None
    images: Images | None = None
    vault: Vault | None = None
    children: Children = dataclasses.field(default_factory=Children)
    worlds: Worlds = dataclasses.field(default_factory=Worlds)
    uses: Uses = dataclasses.field(default_factory=Uses)
    silences: Silences = dataclasses.field(default_factory=Silences)
    capacity: Capacity = dataclasses.field(default_factory=Capacity)
    _isolations: dict[MachineId, Isolation] = dataclasses.field(default_factory=dict)

    def sprite(self, sprite: str) -> Sprite:
        """`UserFault` when it was destroyed before this run's turn came."""
        try:
            return sprites.by_id(self.database, sprite)
        except errors.NotFound as error:
            raise UserFault(str(error), code="not_found") from error

    def machine(self, sprite: Sprite) -> Machine:
        """`StateError` when it has none yet."""
        if sprite.machine is None:
            raise errors.StateError(f"reach sprite {sprite.name}: it has no machine yet")
        return machines.find(self.database, sprite.machine)

    def substrate(self, machine: MachineId) -> Vmm:
        """What the machine is made of, as its row says, for good. `NotFound` when there is no such machine."""
        isolation = self._isolations.get(machine)
        if isolation is None:
            isolation = Isolation(machines.find(self.database, machine).isolation)
            self._isolations[machine] = isolation
        return self.substrates.of(isolation)

    def api(self, sprite: Sprite) -> PilotApi:
        if sprite.machine is None:
            raise errors.StateError(f"reach sprite {sprite.name}: it has no machine yet")
        return PilotApi(self.substrate(sprite.machine).dial_path(sprite.machine))

    def require_vault(self, what: str) -> Vault:
        """`what`: is kept by it, as secrets. `StateError` where there is none."""
        if self.vault is None:
            raise errors.StateError(f"this pilotd keeps no {what}")
        return self.vault

    def forget(self, machine: MachineId) -> None:
        """It was destroyed."""
        self.silences.end(machine)
        self._isolations.pop(machine, None)
