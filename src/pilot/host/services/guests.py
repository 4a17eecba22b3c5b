"""What guests say of disks that they have mounted themselves, and which volumed therefore does not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ... import errors
from ...ids import VolumeId
from ...volume.client import Volume
from ..operations import machines, world
from ..operations.context import Host
from ..store.sprites import Sprite


class Guests:
    """Blocks: each guest is asked."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def read_only(self, rows: Iterable[Sprite]) -> Mapping[VolumeId, int]:
        """Disks whose guest says that they take no writes any more, with what each may take by now."""
        found = (row.volume for row in rows if self._is_read_only(row))
        return {volume: _left_bytes(self._host.volumes.stat(volume)) for volume in found}

    def _is_read_only(self, row: Sprite) -> bool:
        """One that does not answer is left to whoever needs it."""
        try:
            return self._can_be_asked(row) and self._host.api(row).status().read_only
        except errors.PilotError:
            return False

    def _can_be_asked(self, row: Sprite) -> bool:
        if row.machine is None or not world.is_mounted_in_guest(self._host, row):
            return False
        return not machines.is_frozen(self._host, row.machine)


def _left_bytes(disk: Volume) -> int:
    if disk.quota_bytes is None:
        return disk.free_bytes
    return min(disk.free_bytes, disk.quota_bytes - disk.allocated_bytes)
