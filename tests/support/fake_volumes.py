"""Volumes as directories: `pilot.volume.client.VolumeClient`'s interface with copies instead of shared chunks.

It is strict about order as the real one is: a volume that is attached is not restored, a sealed one is not changed.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Sequence

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.volume.client import Status, Volume


@dataclasses.dataclass(frozen=True)
class FakeCut:
    id: CheckpointId
    comment: str | None
    frozen_ms: float = 1.5
    clean: bool = True
    created_at: float = 1.7e9


class FakeVolumes:
    """`attached`, `sealed` and `quotas` are for tests to look at; `state` is what `status` answers. `stored`:
    checkpoints of the disks of a store, by URL. `grows_mounted`: this host's root may."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        self.attached: dict[VolumeId, int] = {}
        self.sealed: set[VolumeId] = set()
        self.quotas: dict[VolumeId, int | None] = {}
        self.sizes: dict[VolumeId, int] = {}
        self.grows_mounted = False
        self.state = Status(free_bytes=1 << 40)
        self.stored: dict[str, list[CheckpointId]] | None = None
        self._cuts: dict[VolumeId, dict[CheckpointId, FakeCut]] = {}

    def _live(self, volume: VolumeId) -> pathlib.Path:
        return self._root / volume / "live"

    def _point(self, volume: VolumeId, checkpoint: CheckpointId) -> pathlib.Path:
        return self._root / volume / checkpoint

    def _known(self, volume: VolumeId) -> None:
        if not self._live(volume).exists():
            raise errors.NotFound(f"volume {volume}: there is none")

    def identity(self, volume: str) -> int:
        """Changes when the content is made anew."""
        return self._live(VolumeId(volume)).stat().st_ino

    def names(self) -> list[str]:
        return sorted(os.listdir(self._root))

    def create(self, volume: VolumeId, size_bytes: int) -> None:
        if self._live(volume).exists():
            raise errors.Conflict(f"create volume {volume}: it exists")
        self._live(volume).mkdir(parents=True)

    def fork(self, source: VolumeId, volume: VolumeId, checkpoint: CheckpointId | None = None) -> None:
        self._known(source)
        if self._live(volume).exists():
            raise errors.Conflict(f"fork volume {volume}: it exists")
        _copy(self._point(source, checkpoint) if checkpoint else self._live(source), self._live(volume))

    def limit(self, volume: VolumeId, quota_bytes: int | None) -> None:
        self._known(volume)
        self.quotas[volume] = quota_bytes

    def resize(self, volume: VolumeId, size_bytes: int) -> None:
        self._known(volume)
        if volume in self.attached and not self.grows_mounted:
            raise errors.StateError(f"resize volume {volume}: it is mounted")
        self.sizes[volume] = size_bytes

    def list(self) -> Sequence[Volume]:
        return [self.stat(VolumeId(name)) for name in self.names()]

    def status(self) -> Status:
        return self.state

    def delete(self, volume: VolumeId) -> None:
        self._known(volume)
        if volume in self.attached:
            raise errors.StateError(f"delete volume {volume}: it is attached")
        shutil.rmtree(self._root / volume)

    def stat(self, volume: VolumeId) -> Volume:
        self._known(volume)
        attached = "mount" if volume in self.attached else None
        size_bytes = self.sizes.get(volume, 1 << 30)
        url = None if self.stored is None else f"file:///store/vol/{volume}"
        return Volume(
            volume, "0" * 16, size_bytes, 0, volume in self.sealed, False, True, attached, 0, 0,
            url=url, free_bytes=self.state.free_bytes,
        )  # fmt: skip

    def adopt(self, volume: VolumeId, url: str | None = None) -> None:
        if self.stored is None:
            raise errors.StateError(f"adopt volume {volume}: no store")
        if url not in self.stored:
            raise errors.NotFound(f"adopt volume {volume}: {url}: not found")
        self.create(volume, 1 << 30)
        for name in self.stored[url]:
            self.checkpoint(volume, "from elsewhere", name)

    def seal(self, volume: VolumeId) -> None:
        self._known(volume)
        self.sealed.add(volume)

    def attach(self, volume: VolumeId, uid_base: int, uid_count: int) -> int:
        self._known(volume)
        if volume in self.attached:
            raise errors.StateError(f"attach volume {volume}: it is attached")
        self.attached[volume] = uid_base
        return os.open(self._live(volume), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def attach_file(self, volume: VolumeId) -> int:
        raise errors.HostError("the fake has no drives")

    def detach(self, volume: VolumeId) -> None:
        self._known(volume)
        if self.attached.pop(volume, None) is None:
            raise errors.StateError(f"detach volume {volume}: it is not attached")

    def checkpoint(
        self, volume: VolumeId, comment: str | None = None, checkpoint: CheckpointId | None = None
    ) -> FakeCut:
        assert checkpoint is not None
        if self._point(volume, checkpoint).exists():
            raise errors.Conflict(f"checkpoint {checkpoint} of volume {volume}: it exists")
        _copy(self._live(volume), self._point(volume, checkpoint))
        cut = self._cuts.setdefault(volume, {})[checkpoint] = FakeCut(checkpoint, comment)
        return cut

    def restore(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        if volume in self.attached:
            raise errors.StateError(f"restore volume {volume}: it is attached")
        if not self._point(volume, checkpoint).exists():
            raise errors.NotFound(f"checkpoint {checkpoint} of volume {volume}: there is none")
        # By rename: who still held the old directory must not see the new content in it.
        old = self._root / volume / f"old-{len(os.listdir(self._root / volume))}"
        self._live(volume).rename(old)
        shutil.rmtree(old)
        _copy(self._point(volume, checkpoint), self._live(volume))

    def checkpoints(self, volume: VolumeId) -> Sequence[FakeCut]:
        return [*self._cuts.get(volume, {}).values()]

    def delete_checkpoint(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        if not self._point(volume, checkpoint).exists():
            raise errors.NotFound(f"checkpoint {checkpoint} of volume {volume}: there is none")
        shutil.rmtree(self._point(volume, checkpoint))
        del self._cuts[volume][checkpoint]


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Links as links."""
    shutil.copytree(source, target, symlinks=True)
