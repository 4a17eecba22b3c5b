"""Disks of a Machine's machine: a root for each container, and the app's volumes.

    root-<n>      a fork of the base volume of the n-th container's image: fly-<machine>-<n>-<digest>
    volume-<n>    the n-th of its mounts

A machine mounts none by itself where the host does that for it: each disk is attached while the machine starts, by
`mounting`, and handed over when it answers.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set

from ... import errors
from ...ids import MachineId, VolumeId
from ...machine import pilot_api
from ...machine.pilot_api import PilotApi
from ...wire import operations, schema
from ..fly.containers import ImageOf
from ..fsm.outcome import Abort
from ..store import fly
from ..store import machines as rows
from ..store.fly import Machine
from . import disks, fly_volumes
from .context import Host
from .disks import VolumeDisk


def root_volume(id: MachineId, number: int, digest: str) -> VolumeId:
    """Of one container."""
    return VolumeId(f"fly-{id}-{number}-{digest.partition(':')[2][:12]}")


def root_name(number: int) -> str:
    return f"root-{number}"


def is_root(name: str) -> bool:
    return name.startswith("root-")


def roots(id: MachineId, images: tuple[ImageOf, ...]) -> list[VolumeId]:
    return [root_volume(id, number, image.digest) for number, image in enumerate(images)]


def every(found: Machine) -> Iterator[tuple[str, VolumeId]]:
    """All that its machine has, by name; a drive of a guest has its place among these as its number."""
    for number, volume in enumerate(roots(found.id, found.images)):
        yield root_name(number), volume
    yield from fly_volumes.mounted(found)


def make_roots(host: Host, found: Machine) -> None:
    """A fork of its image's base for each container, all at once; one that there is stays as it is."""
    disks.at_once(list(makers(host, found).values()))


def makers(host: Host, found: Machine) -> Mapping[str, Callable[[], None]]:
    """What makes each root, by its name."""
    return {
        root_name(number): functools.partial(_make_root, host, found.id, number, image)
        for number, image in enumerate(found.images)
    }


def _make_root(host: Host, id: MachineId, number: int, image: ImageOf) -> None:
    base = fly.base(host.database, image.digest)
    if base is None:
        raise Abort(f"image {image.reference}: its base volume has gone")
    fork(host, base, root_volume(id, number, image.digest))


def fork(host: Host, base: VolumeId, volume: VolumeId) -> None:
    with contextlib.suppress(errors.Conflict):  # it is kept, or an earlier attempt made it
        host.volumes.fork(base, volume)


def drop(host: Host, volume: VolumeId) -> None:
    """Nothing of it is left."""
    disks.release(host, volume)
    with contextlib.suppress(errors.NotFound):
        host.volumes.delete(volume)


def drop_all(host: Host, volumes: list[VolumeId]) -> None:
    disks.at_once([functools.partial(drop, host, volume) for volume in volumes])


# Mounted by the host, given to the machine

Take = Callable[[str], int]
_MADE: Mapping[str, Callable[[], None]] = {}


@contextlib.contextmanager
def mounting(
    host: Host,
    id: MachineId,
    wanted: Mapping[str, VolumeId],
    *,
    anew: Set[str],
    makers: Mapping[str, Callable[[], None]] = _MADE,
) -> Iterator[Take]:
    """Begin to attach them at once, a few at a time. What is yielded waits for the descriptor of one, by its name; then
    it is the caller's. `anew`: whoever had these before has let go of them; nobody had the others. `makers`: of those
    that may not be there yet.

    Waits for the end of all, whatever happens in the block: volumed is to be asked in order.
    """
    if not wanted or host.substrate(id).mounts_in_guest:
        yield _nothing
        return
    uid_base = rows.find(host.database, id).uid_base

    def mount(name: str, volume: VolumeId) -> int:
        if name in makers:
            makers[name]()
        if name in anew:
            return VolumeDisk(host.volumes, volume).mount(uid_base, rows.UID_COUNT)
        return host.volumes.attach(volume, uid_base, rows.UID_COUNT)

    lock, taken = threading.Lock(), set[str]()
    with concurrent.futures.ThreadPoolExecutor(min(len(wanted), disks.AT_ONCE), "disks") as pool:
        begun = {name: pool.submit(mount, name, volume) for name, volume in wanted.items()}

        def take(name: str) -> int:
            mount_fd = begun[name].result()
            with lock:
                taken.add(name)
            return mount_fd

        try:
            yield take
        finally:
            for name, mounted in begun.items():
                if name not in taken and mounted.exception() is None:
                    os.close(mounted.result())


def _nothing(name: str) -> int:
    raise errors.StateError(f"mount disk {name}: the machine does it")


def there(host: Host, id: MachineId) -> frozenset[str]:
    """Names of the disks that a machine which runs has mounted."""
    api = PilotApi(host.substrate(id).dial_path(id))
    return frozenset(disk.name for disk in api.call(operations.LIST_DISKS, None).disks)


def give_all(host: Host, id: MachineId, wanted: Sequence[str], names: Collection[str], take: Take) -> None:
    """Those of all that are `wanted`, several at a time."""
    numbered = [(number, name) for number, name in enumerate(wanted) if name in names]
    disks.at_once([functools.partial(give, host, id, number, name, take) for number, name in numbered])


def give(host: Host, id: MachineId, number: int, name: str, take: Take) -> None:
    """The machine's agent has it: as a mount that is sent to it, or the drive of that number that it was started
    with."""
    substrate, path = host.substrate(id), host.substrate(id).dial_path(id)
    if substrate.mounts_in_guest:
        reference = substrate.drive(number)
    else:
        mount_fd = take(name)
        try:
            pilot_api.send_descriptor(path, name, mount_fd)
        finally:
            os.close(mount_fd)
        reference = schema.DiskReference(descriptor=name)
    PilotApi(path).call(operations.MOUNT_DISK, reference, name=name)
