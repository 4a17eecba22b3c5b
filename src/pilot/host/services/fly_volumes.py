"""What the Machines API may ask of pilotd about volumes. As `services.fly`."""

from __future__ import annotations

import dataclasses
import logging
import re
import secrets
from collections.abc import Sequence

from ... import errors
from ...ids import CheckpointId, VolumeId
from ...volume.client import Volume as Disk
from ...wire import faults
from ..fsm.documents import Nothing
from ..fsm.engine import Ended, Engine
from ..operations import fly_volumes as requests
from ..operations.context import Host, Point
from ..operations.fly_volumes import Extend, Prune, Snapshot
from ..store import fly_volumes
from ..store.fly import App
from ..store.fly_volumes import Volume
from ..store.journal import now_us
from .believed import Believed

log = logging.getLogger(__name__)

DEFAULT_GB, MOST_GB = 3, 16 << 10
DEFAULT_RETENTION, MOST_RETENTION = 5, 60
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """`source`: a volume, or a snapshot, that it begins as; then it is at least as large."""

    name: str
    region: str
    size_gb: int | None = None
    snapshot_retention: int | None = None
    source: str | None = None
    snapshot: str | None = None


class FlyVolumes:
    """Every method is quick."""

    def __init__(self, host: Host, engine: Engine) -> None:
        self._host = host
        self._engine = engine

    def every(self, app: App) -> list[Volume]:
        return fly_volumes.every(self._host.database, app.id)

    def find(self, app: App, id: str) -> Volume:
        return fly_volumes.find(self._host.database, app.id, id)

    def disk(self, row: Volume) -> Disk | None:
        """None when it is not there yet, or not any more."""
        try:
            return self._host.volumes.stat(row.id)
        except errors.NotFound:
            return None

    def create(self, app: App, wanted: Wanted) -> tuple[VolumeId, Ended]:
        """`InvalidRequest`; `NotFound` for a source that is not there."""
        if not _NAME.fullmatch(wanted.name):
            raise faults.InvalidRequest("name: 1 to 63 letters, digits, _ or -")
        source, snapshot = self._source(app, wanted)
        size_gb = wanted.size_gb or (source.size_gb if source else DEFAULT_GB)
        _check_size(size_gb)
        if source is not None and size_gb < source.size_gb:
            raise faults.InvalidRequest(f"size_gb: what it begins as has {source.size_gb}")
        id = VolumeId(f"vol_{secrets.token_hex(8)}")
        request = requests.NewVolume(
            app=app.id,
            name=wanted.name,
            region=wanted.region,
            size_gb=size_gb,
            snapshot_retention=_retention(wanted.snapshot_retention),
            created_us=now_us(),
            source=source.id if source else None,
            snapshot=snapshot,
        )
        return id, self._engine.start(requests.CREATE, id, request)

    def _source(self, app: App, wanted: Wanted) -> tuple[Volume | None, CheckpointId | None]:
        if wanted.snapshot:
            made = requests.SNAPSHOT_ID.fullmatch(wanted.snapshot)
            if made is None:
                raise errors.NotFound(f"snapshot not found: {wanted.snapshot[:50]}")
            row = self.find(app, f"vol_{made['volume']}")
            if wanted.snapshot not in {each.id for each in self.snapshots(row)}:
                raise errors.NotFound(f"snapshot not found: {wanted.snapshot}")
            return row, CheckpointId(wanted.snapshot)
        return (self.find(app, wanted.source) if wanted.source else None), None

    def update(self, row: Volume, snapshot_retention: int | None) -> None:
        if snapshot_retention is None:
            return
        with self._host.database.transaction() as tx:
            fly_volumes.change(tx, row.id, snapshot_retention=_retention(snapshot_retention))

    def extend(self, row: Volume, size_gb: int) -> Ended:
        _check_size(size_gb)
        return self._engine.start(requests.EXTEND, row.id, Extend(size_gb))

    def has_its_size(self, row: Volume) -> bool:
        """Or it has it with the next start of its Machine."""
        disk = self.disk(row)
        return disk is not None and disk.size_bytes >= row.size_gb << 30

    def snapshots(self, row: Volume) -> Sequence[Point]:
        """The newest first."""
        return requests.snapshots(self._host, row)

    def snapshot(self, row: Volume, most: int | None = None) -> tuple[CheckpointId, Ended]:
        """Its run fails, `exhausted`, where there are `most`."""
        id = CheckpointId(f"vs_{row.id.removeprefix('vol_')}{secrets.token_hex(4)}")
        return id, self._engine.start(requests.SNAPSHOT, row.id, Snapshot(id, most))

    def clock(self) -> Believed:
        """By which they are old."""
        return Believed(self._host.database, "snapshots", self._newest_us)

    def _newest_us(self) -> int | None:
        """When the last one was taken, of the volumes that can be looked at; an error where those have none, and there
        are others."""
        taken: list[float] = []
        failed: errors.PilotError | None = None
        for row in fly_volumes.all_created(self._host.database):
            try:
                taken += [point.created_at for point in self.snapshots(row)]
            except errors.PilotError as error:
                failed = error
        if failed is not None and not taken:
            raise failed
        return int(max(taken) * 1e6) if taken else None

    def prune(self, at_us: int) -> list[Ended]:
        """Snapshots that are older than their volume keeps them are being deleted. Takes as long as volumed does. A
        volume that cannot be looked at keeps no other from it."""
        begun: list[Ended] = []
        for row in fly_volumes.all_created(self._host.database):
            try:
                begun += self._prune(row, at_us)
            except errors.PilotError as error:
                log.warning("snapshots of a volume not pruned", extra={"volume": row.id, "error": str(error)})
        return begun

    def _prune(self, row: Volume, at_us: int) -> list[Ended]:
        oldest_s = at_us / 1e6 - row.snapshot_retention * 86400
        old = tuple(point.id for point in self.snapshots(row) if point.created_at < oldest_s)
        return [self._engine.join(requests.PRUNE, row.id, Prune(old))] if old else []

    def destroy(self, row: Volume) -> Ended:
        """Its run fails while a Machine has it."""
        return self._engine.join(requests.DESTROY, row.id, Nothing())


def _check_size(size_gb: int) -> None:
    if not 1 <= size_gb <= MOST_GB:
        raise faults.InvalidRequest(f"size_gb: from 1 to {MOST_GB}")


def _retention(days: int | None) -> int:
    if days is None:
        return DEFAULT_RETENTION
    if not 1 <= days <= MOST_RETENTION:
        raise faults.InvalidRequest(f"snapshot_retention: from 1 to {MOST_RETENTION} days")
    return days
