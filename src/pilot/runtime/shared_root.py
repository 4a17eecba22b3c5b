"""The root of a container that has no mount namespace of its own: it is mounted in the caller's, over the rootfs.

It stays when the last process has ended, so whoever deletes the container unmounts it, with all that is mounted below.
The Record names it by its mount id, from before it is attached: what else lies on the rootfs is not ours.
"""

from __future__ import annotations

from .. import errors
from ..kernel import mounts
from ..spec.config import Spec
from ..spec.linux import NamespaceType


def is_shared(spec: Spec) -> bool:
    """Whether anything is mounted for the container where others see it."""
    return bool(spec.mounts) and not any(n.type is NamespaceType.MOUNT for n in spec.linux.namespaces)


def mount_id(mount_fd: int) -> int:
    """Of a mount that is attached or not, as mountinfo counts."""
    with open(f"/proc/self/fdinfo/{mount_fd}", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))


def unmount(rootfs: str, mount_id: int) -> None:
    """Unmount that mount from the rootfs, if it is there. HostError."""
    if not any((m.mount_id, m.mount_point) == (mount_id, rootfs) for m in mounts.read_mountinfo()):
        return
    try:
        mounts.umount(rootfs, mounts.Unmount.DETACH | mounts.Unmount.NOFOLLOW)
    except OSError as error:
        raise errors.HostError(f"unmount {rootfs}: {(error.strerror or '').lower()}") from error
