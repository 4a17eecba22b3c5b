"""What the steps of all operations share: the store, the volumes, the substrate, and which worlds are known to run."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ... import errors
from ...ids import CheckpointId, VolumeId
from ..fsm.outcome import UserFault
from ..machine.pilot_api import PilotApi
from ..store import sprites
from ..store.database import Database
from ..store.sprites import Sprite
from ..vmm import Vmm, Volumes


class Cut(Protocol):
    """A checkpoint as `volumed` reports it."""

    @property
    def frozen_ms(self) -> float: ...
    @property
    def clean(self) -> bool: ...


class VolumeService(Volumes, Protocol):
    """`pilot.volume.client.VolumeClient`, as far as operations use it (joints §6)."""

    def create(self, volume: VolumeId, size_bytes: int) -> Any: ...
    def fork(self, source: VolumeId, volume: VolumeId, checkpoint: CheckpointId | None = None) -> Any: ...
    def delete(self, volume: VolumeId) -> Any: ...
    def seal(self, volume: VolumeId) -> Any: ...
    def stat(self, volume: VolumeId) -> Any: ...
    def adopt(self, volume: VolumeId, url: str | None = None) -> Any: ...
    def detach(self, volume: VolumeId) -> Any: ...
    def restore(self, volume: VolumeId, checkpoint: CheckpointId) -> Any: ...
    def checkpoints(self, volume: VolumeId) -> Sequence[Any]: ...
    def delete_checkpoint(self, volume: VolumeId, checkpoint: CheckpointId) -> Any: ...
    def checkpoint(
        self, volume: VolumeId, comment: str | None = None, checkpoint: CheckpointId | None = None
    ) -> Cut: ...


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
    """`build_archive()` returns the path of the tar that the base volume of `variant` is made from.

    `store_owner`: with an object store, what tells this pilotd's base volumes apart in it from those of others.
    """

    database: Database
    volumes: VolumeService
    vmm: Vmm
    variant: str
    build_archive: Callable[[], str]
    disk_bytes: int = 100 << 30
    store_owner: str | None = None
    worlds: Worlds = dataclasses.field(default_factory=Worlds)

    def sprite(self, sprite: str) -> Sprite:
        """`UserFault` when it was destroyed before this run's turn came."""
        try:
            return sprites.by_id(self.database, sprite)
        except errors.NotFound as error:
            raise UserFault(str(error), code="not_found") from error

    def api(self, sprite: Sprite) -> PilotApi:
        if sprite.machine is None:
            raise errors.StateError(f"reach sprite {sprite.name}: it has no machine yet")
        return PilotApi(self.vmm.dial_path(sprite.machine))
