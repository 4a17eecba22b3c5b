"""Volumes of the Machines API: volumed's, under the same names. One that a Machine runs with is a disk of its machine.

create    record → disk → ready       new, or a fork of another volume or of a snapshot: nothing is copied
extend    size → grow                 one that is mounted has the size with the next start of its Machine
snapshot  take                        a checkpoint, while its Machine runs on
destroy   mark → disk → forget        not while a Machine has it
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from ... import errors
from ...ids import CheckpointId, VolumeId
from ..fly import config as configs
from ..fsm.documents import NO_REQUEST, Format
from ..fsm.operation import Action, Run
from ..fsm.outcome import Outcome, UserFault
from ..store import fly_volumes
from ..store.fly import Machine
from ..store.fly_volumes import Volume
from . import disks
from .context import Host

VOLUME = "volume"
_GIB = 1 << 30


class NewVolume(msgspec.Struct, frozen=True):
    """`source`: what it begins as, at its `snapshot` where that is said."""

    app: str
    name: str
    region: str
    size_gb: int
    snapshot_retention: int
    created_us: int
    source: VolumeId | None = None
    snapshot: CheckpointId | None = None


class Extend(msgspec.Struct, frozen=True):
    size_gb: int


class Snapshot(msgspec.Struct, frozen=True):
    id: CheckpointId


CREATE = Action(VOLUME, "create", Format[NewVolume](NewVolume))
EXTEND = Action(VOLUME, "extend", Format[Extend](Extend))
SNAPSHOT = Action(VOLUME, "snapshot", Format[Snapshot](Snapshot))
DESTROY = Action(VOLUME, "destroy", NO_REQUEST)


def volume_of(host: Host, run: Run[object]) -> Volume:
    try:
        return fly_volumes.by_id(host.database, run.resource)
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error


def record(host: Host, run: Run[NewVolume]) -> None:
    wanted = run.request
    row = Volume(
        VolumeId(run.resource), wanted.app, wanted.name, wanted.region, "creating", wanted.size_gb, None,
        wanted.snapshot_retention, wanted.created_us,
    )  # fmt: skip
    try:
        with host.database.transaction() as tx:
            fly_volumes.add(tx, row)
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error


def make_disk(host: Host, run: Run[NewVolume]) -> None:
    volume, wanted = VolumeId(run.resource), run.request
    try:
        with contextlib.suppress(errors.Conflict):  # an earlier attempt made it
            if wanted.source is None:
                host.volumes.create(volume, wanted.size_gb * _GIB)
            else:
                host.volumes.fork(wanted.source, volume, wanted.snapshot)
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error
    _grow(host, volume, wanted.size_gb)


def ready(host: Host, run: Run[object]) -> None:
    with host.database.transaction() as tx:
        fly_volumes.change(tx, run.resource, state=fly_volumes.CREATED)


def settle_create(host: Host, run: Run[NewVolume], outcome: Outcome) -> None:
    """What could not be made is not there."""
    if outcome.done:
        return
    with contextlib.suppress(errors.NotFound):
        host.volumes.delete(VolumeId(run.resource))
    with host.database.transaction() as tx:
        fly_volumes.delete(tx, run.resource)


def size(host: Host, run: Run[Extend]) -> None:
    found = volume_of(host, run)
    if run.request.size_gb < found.size_gb:
        raise UserFault(f"volume {found.id} has {found.size_gb} GB: it can only become larger", code="invalid")
    with host.database.transaction() as tx:
        fly_volumes.change(tx, found.id, size_gb=run.request.size_gb)


def grow(host: Host, run: Run[Extend]) -> None:
    with contextlib.suppress(errors.StateError):  # it is mounted: `prepare` does it, before the next start
        _grow(host, VolumeId(run.resource), run.request.size_gb)


def _grow(host: Host, volume: VolumeId, size_gb: int) -> None:
    if host.volumes.stat(volume).size_bytes < size_gb * _GIB:
        host.volumes.resize(volume, size_gb * _GIB)


def take(host: Host, run: Run[Snapshot]) -> None:
    found = volume_of(host, run)
    with contextlib.suppress(errors.Conflict):  # an earlier attempt took it
        host.volumes.checkpoint(found.id, "", run.request.id)


def mark(host: Host, run: Run[object]) -> None:
    found = volume_of(host, run)
    try:
        host.database.write_surely(lambda tx: fly_volumes.mark(tx, found.id))
    except errors.StateError as error:
        raise UserFault(str(error), code="failed_precondition") from error


def destroy_disk(host: Host, run: Run[object]) -> None:
    volume = VolumeId(run.resource)
    disks.release(host, volume)
    with contextlib.suppress(errors.NotFound):
        host.volumes.delete(volume)


def forget(host: Host, run: Run[object]) -> None:
    host.database.write_surely(lambda tx: fly_volumes.delete(tx, run.resource))
    host.database.refill()


# As disks of a machine


def mounted(found: Machine) -> Iterator[tuple[str, VolumeId]]:
    """The disks that a Machine's machine has beside its roots, by the names that they have in it."""
    wanted = found.config.get("mounts")
    if wanted:
        for number, id in enumerate(configs.volumes(configs.parse(found.config))):
            yield f"volume-{number}", VolumeId(id)


def prepare(host: Host, volume: VolumeId) -> None:
    """It has the size that it is to have. Nobody has it mounted."""
    disks.release(host, volume)
    _grow(host, volume, fly_volumes.by_id(host.database, volume).size_gb)
