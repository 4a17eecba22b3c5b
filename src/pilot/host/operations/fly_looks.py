"""What is run of a sprite's checkpoint, as the checkpoint itself says: its services, its user. Looked at once, at the
first start of the Machine that is made of it, on the root that is attached for that anyway.
"""

from __future__ import annotations

import os

import msgspec

from ... import errors
from ...ids import VolumeId
from ..fly.containers import SPRITE, ImageOf, OfCheckpoint
from ..fsm.outcome import UserFault
from ..shipping import about, settings
from ..store import fly
from ..store.fly import Machine
from . import disks, fly_disks
from .context import Host

_ALL_UIDS = 1 << 32


def look(host: Host, found: Machine) -> None:
    """Its images say what is run, from here on. Its roots are attached, where the host mounts them; else they are for
    the moment."""
    seen = tuple(_seen(host, volume, image) for volume, image in zip(_roots(found), found.images, strict=True))
    if seen != found.images:
        with host.database.transaction(durable=False) as tx:
            fly.change(tx, found.id, images=seen)


def is_wanted(found: Machine) -> bool:
    return any(_unseen(image) is not None for image in found.images)


def _unseen(image: ImageOf) -> OfCheckpoint | None:
    return image.of if image.of is not None and image.of.environment is not None else None


def _roots(found: Machine) -> list[VolumeId]:
    return fly_disks.roots(found.id, found.images)


def _seen(host: Host, volume: VolumeId, image: ImageOf) -> ImageOf:
    """`UserFault` for a disk that does not say it as it should."""
    of = _unseen(image)
    if of is None:
        return image
    name = image.reference.removeprefix(SPRITE).partition("/")[0]
    mount_fd = host.volumes.attach(volume, 0, _ALL_UIDS)
    try:
        wanted = settings.plan(settings.Origin(name, of.checkpoint), of.environment or {}, about.read(mount_fd))
    except errors.HostError as error:
        raise UserFault(str(error)) from error
    finally:
        os.close(mount_fd)
    return msgspec.structs.replace(image, config=wanted.config, of=msgspec.structs.replace(of, environment=None))


def look_apart(host: Host, found: Machine) -> None:
    """As `look`, of roots that nobody here has attached, and nobody has afterwards."""
    try:
        look(host, found)
    finally:
        for volume in _roots(found):
            disks.release(host, volume)
