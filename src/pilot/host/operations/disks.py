"""Disks of sprites: let go of, and attached while the machine starts: neither needs the other until both are there.

with attaching(host, sprite) as volumes:         detach, attach  ─┐ in a thread
    host.vmm.start(machine)                                       │
    host.vmm.attach_disk(machine, volumes, volume)   waits  ◄─────┘ and passes it on
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
from collections.abc import Iterator

from ... import errors
from ...ids import VolumeId
from ..store import sprites
from ..store.sprites import Sprite
from .context import Host


def release(host: Host, volume: VolumeId) -> None:
    """No attachment of the volume is left. `StateError`: it was not attached; `NotFound`: no such volume."""
    try:
        host.volumes.detach(volume)
    except (errors.StateError, errors.NotFound):
        pass  # nothing to let go of, which is what was wanted


def flush(host: Host, volume: VolumeId) -> None:
    """What a guest wrote last to the drive that it has unmounted is stable: its kernel need not have asked for that."""
    disk_fd = host.volumes.attach_file(volume)
    try:
        os.fsync(disk_fd)
    finally:
        os.close(disk_fd)


class Early:
    """`Volumes` of which one attachment is under way; whoever attaches gets that one, and owns the descriptor."""

    def __init__(self, host: Host, attached: concurrent.futures.Future[int]) -> None:
        self._host = host
        self._attached: concurrent.futures.Future[int] | None = attached

    def attach(self, volume: VolumeId, uid_base: int, uid_count: int) -> int:
        attached, self._attached = self._attached, None
        return attached.result() if attached else self._host.volumes.attach(volume, uid_base, uid_count)

    def attach_file(self, volume: VolumeId) -> int:
        return self._host.volumes.attach_file(volume)

    def close(self) -> None:
        """Nobody has asked for it. Its failure is told by the next attempt, which has it, too."""
        if self._attached is not None and self._attached.exception() is None:
            os.close(self._attached.result())


@contextlib.contextmanager
def attaching(host: Host, sprite: Sprite) -> Iterator[Early]:
    """Begin at once. Waits for the end of it, whatever happens in the block: volumed is to be asked in order."""
    assert sprite.machine is not None
    uid_base = sprites.machine(host.database, sprite.machine).uid_base

    def attach() -> int:
        release(host, sprite.volume)
        return host.volumes.attach(sprite.volume, uid_base, sprites.UID_COUNT)

    with concurrent.futures.ThreadPoolExecutor(1, f"attach-{sprite.id}") as pool:
        early = Early(host, pool.submit(attach))
        try:
            yield early
        finally:
            early.close()
