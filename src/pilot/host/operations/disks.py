"""Disks of machines: let go of, flushed, and attached by whichever substrate a machine is of."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from ... import errors
from ...ids import VolumeId
from ..store.sprites import Config
from .context import Host, VolumeService

T = TypeVar("T")
AT_ONCE = 8


def release(host: Host, volume: VolumeId) -> None:
    """No attachment of the volume is left."""
    _release(host.volumes, volume)


def _release(volumes: VolumeService, volume: VolumeId) -> None:
    try:
        volumes.detach(volume)
    except (errors.StateError, errors.NotFound):
        pass  # nothing to let go of, which is what was wanted


def at_once(acts: Sequence[Callable[[], T]]) -> list[T]:
    """What each returns, of `AT_ONCE` at a time: each waits for processes of its own disk. All have ended when one
    has failed, whose error is raised."""
    if len(acts) < 2:
        return [act() for act in acts]
    with concurrent.futures.ThreadPoolExecutor(min(len(acts), AT_ONCE), "disks") as pool:
        begun = [pool.submit(act) for act in acts]
    return [each.result() for each in begun]


def flush(host: Host, volume: VolumeId) -> None:
    """What a guest wrote last to the drive that it has unmounted is stable: its kernel need not have asked for that."""
    disk_fd = host.volumes.attach_file(volume)
    try:
        os.fsync(disk_fd)
    finally:
        os.close(disk_fd)


def quota_bytes(host: Host, config: Config) -> int | None:
    """What it may take of the host's disk; None: what there is."""
    return config.storage_gb * 10**9 if config.storage_gb else host.quota_bytes


def limit(host: Host, volume: VolumeId, config: Config) -> None:
    """That, from now on."""
    host.volumes.limit(volume, quota_bytes(host, config))


@dataclasses.dataclass(frozen=True)
class VolumeDisk:
    """A volume as a `vmm.Disk`."""

    volumes: VolumeService
    volume: VolumeId

    def mount(self, uid_base: int, uid_count: int) -> int:
        _release(self.volumes, self.volume)
        return self.volumes.attach(self.volume, uid_base, uid_count)

    def file(self) -> int:
        _release(self.volumes, self.volume)
        return self.volumes.attach_file(self.volume)
