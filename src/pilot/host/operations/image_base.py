"""An image of somebody else's as a sealed base volume, once per digest of its manifest; roots are forks of it.

fetch     documents and layers, by the digest, into the store of images
fill      volume image-<digest>[-<owner>]/rootfs/: all layers, by the confined child
seal      nobody writes to it any more
publish   forks may be made of it
retire    the layers as they were stored are not needed any more

One of a sprite's checkpoint is not fetched, and nothing of it is copied:

fork      of the checkpoint, rootfs/ and all      seal, publish      as above

And the way back, when no Machine is made of it any more:

unpublish nobody gets a fork of it from here on; refused while a Machine is made of it
drop      the volume; forks that there still are keep what they share with it
"""

from __future__ import annotations

import contextlib
import os

import msgspec

from ... import errors
from ...ids import CheckpointId, VolumeId
from ...image.oci import digest as digests
from ...image.oci import unpack
from ..fly.pulling import Images
from ..fsm.documents import Format
from ..fsm.operation import Action, Run
from ..fsm.outcome import UserFault
from ..store import fly
from ..store.machines import UID_COUNT
from . import disks
from .context import Host


class Prepare(msgspec.Struct, frozen=True):
    """`reference`: where the image is, as the config that wants it says."""

    reference: str
    volume: VolumeId


class Collect(msgspec.Struct, frozen=True):
    volume: VolumeId


class Take(msgspec.Struct, frozen=True):
    """`sprite` and `checkpoint`: whose disk, and when."""

    sprite: str
    checkpoint: CheckpointId
    volume: VolumeId


IMAGE = "image"
PREPARE = Action(IMAGE, "prepare", Format[Prepare](Prepare))
TAKE = Action(IMAGE, "take", Format[Take](Take))
COLLECT = Action(IMAGE, "collect", Format[Collect](Collect))


def volume_name(digest: str, owner: str | None) -> VolumeId:
    """A store has each name once, and several pilotds may share one: there the owner is in it, as in `base`."""
    name = f"image-{digests.parse(digest).partition(':')[2][:40]}"
    return VolumeId(name if owner is None else f"{name}-{owner}")


def images_of(host: Host) -> Images:
    if host.images is None:
        raise UserFault("this pilotd takes no images")
    return host.images


def fetch(host: Host, run: Run[Prepare]) -> None:
    """`UserFault` for what is not there, or is no image; a registry that does not answer is asked again."""
    try:
        images_of(host).bring(run.request.reference, digests.parse(run.resource))
    except (errors.SpecError, errors.NotFound) as error:
        raise UserFault(str(error)) from error


def fill(host: Host, run: Run[Prepare]) -> None:
    """From nothing each time: what an attempt that died has left is thrown away. A published one is left alone."""
    if fly.base(host.database, run.resource) is not None:
        return
    volume = run.request.volume
    for undo in (host.volumes.detach, host.volumes.delete):
        try:
            undo(volume)
        except (errors.NotFound, errors.StateError):
            continue  # no earlier attempt came so far
    host.volumes.create(volume, host.disk_bytes)
    mount_fd = host.volumes.attach(volume, 0, UID_COUNT)
    try:
        _unpack(host, run, f"/proc/self/fd/{mount_fd}/rootfs")
    finally:
        os.close(mount_fd)
        host.volumes.detach(volume)


def take(host: Host, run: Run[Take]) -> None:
    """From nothing each time, as `fill`. `UserFault` when the sprite or its checkpoint has gone."""
    if fly.base(host.database, run.resource) is not None:
        return
    wanted = run.request
    disks.release(host, wanted.volume)
    with contextlib.suppress(errors.NotFound):  # no earlier attempt came so far
        host.volumes.delete(wanted.volume)
    try:
        host.volumes.fork(host.sprite(wanted.sprite).volume, wanted.volume, wanted.checkpoint)
    except errors.NotFound as error:
        raise UserFault(f"checkpoint {wanted.checkpoint}: {error}", code="not_found") from error


def _unpack(host: Host, run: Run[Prepare], root: str) -> None:
    images = images_of(host)
    os.mkdir(root, 0o755)
    try:
        image = images.bring(run.request.reference, digests.parse(run.resource))
        unpack.unpack_into(images.layers(image), root)
    except errors.SpecError as error:
        raise UserFault(str(error)) from error


def seal(host: Host, run: Run[Prepare] | Run[Take]) -> None:
    if fly.base(host.database, run.resource) is None:
        host.volumes.seal(run.request.volume)


def publish(host: Host, run: Run[Prepare] | Run[Take]) -> None:
    with host.database.transaction() as tx:
        fly.publish_base(tx, run.resource, run.request.volume)


def retire(host: Host, run: Run[Prepare]) -> None:
    images_of(host).forget(run.request.reference, digests.parse(run.resource))


def unpublish(host: Host, run: Run[Collect]) -> None:
    """A Machine is written down before its image is looked for: it keeps the base, or has it made anew."""
    with host.database.transaction() as tx:
        if run.resource in fly.wanted_bases(tx):
            raise UserFault(f"image {run.resource}: a machine is made of it", code="conflict")
        fly.forget_base(tx, run.resource)


def drop(host: Host, run: Run[Collect]) -> None:
    """It is sealed, so that nobody has it attached."""
    with contextlib.suppress(errors.NotFound):  # an earlier attempt did it
        host.volumes.delete(run.request.volume)
