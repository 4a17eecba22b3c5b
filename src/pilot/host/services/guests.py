"""What guests say of disks that they have mounted themselves, and which volumed therefore does not know."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from ... import errors
from ...ids import VolumeId
from ...volume.client import Volume
from ..operations import machines, world
from ..operations.context import Host
from ..store.sprites import Sprite

log = logging.getLogger(__name__)


class Guests:
    """Blocks: each guest is asked."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def read_only(self, rows: Iterable[Sprite]) -> Mapping[VolumeId, int]:
        """Disks whose guest says that they take no writes any more, with what each may take by now."""
        found = ((row.volume, self._left_bytes(row)) for row in rows)
        return {volume: left_bytes for volume, left_bytes in found if left_bytes is not None}

    def _left_bytes(self, row: Sprite) -> int | None:
        """None for one that takes writes, and for one that does not answer: it is left to whoever needs it."""
        try:
            if self._can_be_asked(row) and self._host.api(row).status().read_only:
                return _left_bytes(self._host.volumes.stat(row.volume))
        except errors.PilotError as error:
            log.info("guest not asked about its disk", extra={"sprite": row.name, "error": str(error)})
        return None

    def _can_be_asked(self, row: Sprite) -> bool:
        if row.machine is None or not world.is_mounted_in_guest(self._host, row):
            return False
        return not machines.is_frozen(self._host, row.machine)


def _left_bytes(disk: Volume) -> int:
    if disk.quota_bytes is None:
        return disk.free_bytes
    return min(disk.free_bytes, disk.quota_bytes - disk.allocated_bytes)
