"""Volumes of the Machines API: volumed's, under the same names. One that a Machine runs with is a disk of its machine.

create    record → disk → ready       new, or a fork of another volume or of a snapshot: nothing is copied
extend    size → grow                 at once, where this host may; else with the next start of its Machine
prune     delete                      snapshots that are older than they are to be kept
snapshot  take                        a checkpoint, while its Machine runs on
destroy   mark → disk → forget        not while a Machine has it
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence

import msgspec

from ... import errors
from ...ids import CheckpointId, VolumeId
from ...machine.pilot_api import PilotApi
from ...wire import operations
from ..fly import config as configs
from ..fsm.documents import NO_REQUEST, Format
from ..fsm.operation import Action, Run
from ..fsm.outcome import Outcome, UserFault
from ..store import fly, fly_volumes
from ..store.fly import Machine
from ..store.fly_volumes import Volume
from ..store.machines import UID_COUNT
from ..vmm import MachineStatus
from . import disks, machines
from .context import Host, Point

VOLUME = "volume"
SNAPSHOT_ID = re.compile(r"vs_(?P<volume>[0-9a-f]{16})[0-9a-f]{8}")
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
    """`most`: none is taken of a volume that has so many."""

    id: CheckpointId
    most: int | None = None


class Prune(msgspec.Struct, frozen=True):
    """Snapshots that are not to be kept any longer."""

    ids: tuple[CheckpointId, ...]


CREATE = Action(VOLUME, "create", Format[NewVolume](NewVolume))
EXTEND = Action(VOLUME, "extend", Format[Extend](Extend))
PRUNE = Action(VOLUME, "prune", Format[Prune](Prune))
SNAPSHOT = Action(VOLUME, "snapshot", Format[Snapshot](Snapshot))
DESTROY = Action(VOLUME, "destroy", NO_REQUEST)


def volume_of(host: Host, run: Run[object]) -> Volume:
    try:
        return fly_volumes.by_id(host.database, run.resource)
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error


def snapshots(host: Host, row: Volume) -> Sequence[Point]:
    """The newest first."""
    try:
        points = host.volumes.checkpoints(row.id)
    except errors.NotFound:
        return []  # it is not there yet, or not any more
    return [point for point in reversed(points) if SNAPSHOT_ID.fullmatch(point.id)]


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
    if wanted.source is None:
        _format(host, volume)


def _format(host: Host, volume: VolumeId) -> None:
    """A new one gets its filesystem when this host mounts it first: a guest would find none on its drive."""
    disks.release(host, volume)
    os.close(host.volumes.attach(volume, 0, UID_COUNT))
    disks.release(host, volume)


def ready(host: Host, run: Run[object]) -> None:
    with host.database.transaction() as tx:
        fly_volumes.change(tx, run.resource, state=fly_volumes.CREATED)


def settle_create(host: Host, run: Run[NewVolume], outcome: Outcome) -> None:
    """What could not be made is not there."""
    if outcome.done:
        return
    disks.release(host, VolumeId(run.resource))  # `_format` may have been in the middle
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
    """At once, also below a Machine that runs; before its next start where this host may not grow what it has mounted.

    One that is as large already may have been left so by an attempt that died before its filesystem had followed.
    """
    volume, wanted = VolumeId(run.resource), run.request.size_gb * _GIB
    with contextlib.suppress(errors.StateError):
        if host.volumes.stat(volume).size_bytes <= wanted:
            host.volumes.resize(volume, wanted)
        _follow(host, volume_of(host, run))


def _follow(host: Host, volume: Volume) -> None:
    """The guest that has it sees its size, and the filesystem on it does, too."""
    id = volume.machine
    if id is None or machines.isolation_of(host, id) is None or not host.substrate(id).mounts_in_guest:
        return
    if host.substrate(id).status(id) is not MachineStatus.RUNNING:
        return
    drive = drives(fly.by_id(host.database, id)).get(volume.id)
    if drive is None:
        return  # of the version that is to come: what runs now has it not
    number, name = drive
    host.substrate(id).grow_drive(id, number, volume.size_gb * _GIB)
    reference = host.substrate(id).drive(number)
    PilotApi(host.substrate(id).dial_path(id)).call(operations.MOUNT_DISK, reference, name=name)


def _grow(host: Host, volume: VolumeId, size_gb: int) -> None:
    if host.volumes.stat(volume).size_bytes < size_gb * _GIB:
        host.volumes.resize(volume, size_gb * _GIB)


def take(host: Host, run: Run[Snapshot]) -> None:
    found = volume_of(host, run)
    if run.request.most is not None:
        others = [point for point in snapshots(host, found) if point.id != run.request.id]
        if len(others) >= run.request.most:
            raise UserFault(f"the volume has {len(others)} snapshots already", code="exhausted")
    with contextlib.suppress(errors.Conflict):  # an earlier attempt took it
        host.volumes.checkpoint(found.id, "", run.request.id)


def delete_snapshots(host: Host, run: Run[Prune]) -> None:
    for id in run.request.ids:
        with contextlib.suppress(errors.NotFound):  # an earlier attempt did it, or the volume has gone
            host.volumes.delete_checkpoint(VolumeId(run.resource), id)


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


def drives(found: Machine) -> dict[VolumeId, tuple[int, str]]:
    """The number and the name that each has among the disks of the Machine's machine, whose roots are the first."""
    return {volume: (len(found.images) + number, name) for number, (name, volume) in enumerate(mounted(found))}


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
