"""A sprite on a disk that is in the object store: what another host had, before it was lost or gave it up.

    adopt   volumed takes the disk over, its map only; whoever held it is fenced ─ its checkpoints become rows

The volume is named after the disk, so a repetition finds what an earlier attempt brought. A create that fails later
never deletes the volume: that would delete it from the store. It stays here without a sprite, and the next create from
the same URL takes it.
"""

from __future__ import annotations

import re

from ... import errors
from ...ids import VolumeId
from ...volume.client import Volume
from ..fsm.operation import Run
from ..fsm.outcome import UserFault
from ..store import checkpoints, sprites
from ..store.checkpoints import Checkpoint
from . import destroy, disks
from .context import Host, Point
from .requests import Create

_URL = re.compile(r".+/vol/(?P<disk>[0-9a-f]{16})/?")
_NUMBERED = re.compile(r"v(?P<number>[1-9]\d{0,8})")


def volume_of(url: str) -> VolumeId:
    """The name here of the volume that `GET /v1/sprites/{name}/disk` gave this URL; `PilotError` when it cannot be."""
    found = _URL.fullmatch(url)
    if found is None:
        raise errors.PilotError(f"{url}: not the URL of a disk", hint="<store>/vol/<disk>, as the sprite's disk has it")
    return VolumeId(f"sprite-{found['disk']}")


def disk(host: Host, run: Run[Create], url: str) -> None:
    """The volume of the run's request is here, and this sprite's alone."""
    volume = run.request.volume
    if any(row.volume == volume and row.id != run.resource for row in sprites.every(host.database)):
        raise UserFault(f"create: {url} is the disk of another sprite", code="conflict")
    try:
        _adopt(host, volume, url)
        _check(host, run.request, url, host.volumes.stat(volume))
        points = host.volumes.checkpoints(volume)
    except errors.NotFound as error:
        raise UserFault(
            f"create: {url}: the store has no such disk, or it is here already", code="not_found"
        ) from error
    with host.database.transaction() as tx:
        for point in points:
            if (row := _row(run.resource, point)) is not None:
                checkpoints.publish(tx, row)
                checkpoints.skip(tx, run.resource, row.number)


def _adopt(host: Host, volume: VolumeId, url: str) -> None:
    try:
        host.volumes.adopt(volume, url)
    except errors.Conflict:
        pass  # an earlier attempt, or create, brought it; or the disk is here by another name, and there is no `volume`
    except (errors.PeerError, errors.HostError, errors.NotFound):
        raise  # to be tried again; the last is told by the caller
    except errors.PilotError as error:
        raise UserFault(f"create: {error}") from error  # no store, another one, or nothing that can be read


def _check(host: Host, wanted: Create, url: str, found: Volume) -> None:
    if found.sealed:
        raise UserFault(f"create: {url} is a base, which nobody writes")
    if found.vm and not host.substrates.of(wanted.isolation or host.isolation).mounts_in_guest:
        raise UserFault(f"create: {url} belongs to virtual machines, sprites here are containers")


def _row(sprite: str, point: Point) -> Checkpoint | None:
    """None for a checkpoint that no sprite made."""
    numbered = _NUMBERED.fullmatch(point.id)
    is_auto = point.id.startswith("auto-")
    if numbered is None and not is_auto:
        return None
    return Checkpoint(
        sprite=sprite,
        id=point.id,
        number=int(numbered["number"]) if numbered else 0,
        source=None,
        comment=point.comment or "",
        is_auto=is_auto,
        clean=point.clean,
        frozen_ms=point.frozen_ms,
        created_us=round(point.created_at * 1e6),
    )


def give_up(host: Host, run: Run[Create]) -> None:
    """The create has failed: no sprite and no machine are left, and the volume is as it was before, or detached."""
    destroy.machine(host, run)
    if "disk" in run.results:  # else it may be another sprite's
        disks.release(host, run.request.volume)
    destroy.forget(host, run)
