"""Forks of unpacked images: what a container writes is in the fork, and goes with it.

<directory>/forks/ID/       of the container ID; locked by whoever runs it
    upper/  work/           overlayfs's
    bundle/                 the container's: config.json, and rootfs/, where the fork is mounted

It is mounted in a mount namespace of this process and its container alone: whatever becomes of them, no mount is left.
What a killed owner has left, the container among it, is ended and removed by the next who comes by.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from .. import errors
from ..ids import ContainerId
from ..image.oci import unpack
from ..kernel import mounts, syscalls
from ..runtime import Runtime

RUNTIME_ROOT = "/run/pilot"
_CLONE_NEWNS = 0x00020000


@contextlib.contextmanager
def fork(directory: str, id: str, lower: str) -> Iterator[str]:
    """The bundle's directory, with `rootfs` mounted. From here on this process sees mounts that nobody else does.

    HostError where overlayfs cannot be on that filesystem.
    """
    forks = os.path.join(directory, "forks")
    os.makedirs(forks, mode=0o700, exist_ok=True)
    sweep(forks)
    place = os.path.join(forks, id)
    try:
        os.mkdir(place, 0o700)
    except FileExistsError as error:
        raise errors.Conflict(f"run {id}: there is a container of that name") from error
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        for name in ("upper", "work", "bundle", "bundle/rootfs"):
            os.mkdir(os.path.join(place, name), 0o755)
        _be_apart()
        rootfs = os.path.join(place, "bundle", "rootfs")
        _mount(lower, place, rootfs)
        try:
            yield os.path.join(place, "bundle")
        finally:
            mounts.umount(rootfs, mounts.Unmount.DETACH)
            unpack.forget(place)
    finally:
        os.close(fd)


def sweep(forks: str) -> None:
    """Remove the forks that nobody has any more."""
    for name in os.listdir(forks):
        place = os.path.join(forks, name)
        try:
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # its owner removes it
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _end(ContainerId(name), os.path.join(place, "bundle"))
            unpack.forget(place)
        except BlockingIOError:
            continue  # it is in use
        finally:
            os.close(fd)


def _end(id: ContainerId, bundle: str) -> None:
    """The container of a fork whose owner has gone; another one of that name is somebody else's."""
    try:
        container = Runtime(RUNTIME_ROOT).load(id)
    except errors.NotFound:
        return
    if container.bundle == bundle:
        container.delete(force=True)


def _be_apart() -> None:
    syscalls.checked(syscalls.libc.unshare(_CLONE_NEWNS), "unshare the mount namespace")
    mounts.set_attributes("/", propagation=mounts.Propagation.PRIVATE, recursive=True)


def _mount(lower: str, place: str, rootfs: str) -> None:
    options = {
        "source": "image", "lowerdir": lower, "upperdir": os.path.join(place, "upper"),
        "workdir": os.path.join(place, "work"),
    }  # fmt: skip
    if any(set(path) & set(':,\\"') for path in options.values()):
        raise errors.HostError(f"fork an image in {place}: overlayfs takes no ':', ',' or '\\' in a path")
    try:
        mount_fd = mounts.mount_detached("overlay", options)
    except OSError as error:
        raise errors.HostError(f"fork an image in {place}: {error.strerror}") from error
    try:
        mounts.move_mount(mount_fd, rootfs)
    finally:
        os.close(mount_fd)
