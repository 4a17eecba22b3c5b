"""Checkpoints that are mounted: each a directory of the disk that the host has sent.

<run>/saved/vN           a tmpfs; worlds have a slave of it, so what is mounted here is there, too. Their root can make
                         it writable, as it was given it with that mount (docs/reference/isolation.md, Not held): so
                         whatever is in it is believed to be anything, and no link of it is followed
<run>/saved-disk/vN      a directory: the host may have that one mounted for us, from before it is asked until it has
                         heard that it is not needed any more, so that a new agent knows. For a moment the whole disk is
                         mounted there, of which a world sees `rootfs`
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from ...kernel import mounts, visit
from ...wire import outward
from ..descriptors import Descriptors

PLACE = "/.sprite/saved"
_NAME = re.compile(r"v([1-9][0-9]{0,8})")
_ROOTFS = "rootfs"
_READ_ONLY = mounts.Attribute.RDONLY | mounts.Attribute.NOSUID | mounts.Attribute.NODEV
_ATTRIBUTES = mounts.Attribute.NOSUID | mounts.Attribute.NODEV | mounts.Attribute.NOEXEC


def number_of(name: str) -> int | None:
    """Of a checkpoint that may be shown: those that somebody has asked for."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def name_of(number: int) -> str:
    return f"v{number}"


class Shelf:
    """All block."""

    def __init__(self, run: str, given: Descriptors) -> None:
        self._directory = os.path.join(run, "saved")
        self._disks = os.path.join(run, "saved-disk")
        self._given = given

    def ensure(self) -> None:
        """Be there; what is mounted there from now on is mounted in worlds, too. Of an agent that was killed no whole
        disk stays mounted."""
        for left in list(mounts.mounts_below(mounts.read_mountinfo(), os.path.realpath(self._disks))):
            mounts.umount(left.mount_point, mounts.Unmount.DETACH | mounts.Unmount.NOFOLLOW)
        os.makedirs(self._disks, mode=0o700, exist_ok=True)
        self._ensure_directory()
        for number in self.mounted():
            self.ask(number)

    def _ensure_directory(self) -> None:
        if mounts.is_mount_point(self._directory):
            return
        os.makedirs(self._directory, mode=0o755, exist_ok=True)
        tmpfs_fd = mounts.mount_detached("tmpfs", {"mode": "0755", "nr_inodes": "64", "size": "64k"}, _ATTRIBUTES)
        try:
            mounts.move_mount(tmpfs_fd, self._directory)
        finally:
            os.close(tmpfs_fd)
        mounts.set_attributes(self._directory, propagation=mounts.Propagation.SHARED)

    def mounted(self) -> set[int]:
        """A former agent's, too."""
        below = mounts.mounts_below(mounts.read_mountinfo(), self._directory)
        numbers = (number_of(os.path.basename(each.mount_point)) for each in below)
        return {number for number in numbers if number is not None}

    def ask(self, number: int) -> None:
        """From now on the host may have it mounted for us; idempotent."""
        os.makedirs(self._disk(number), mode=0o700, exist_ok=True)

    def forget(self, number: int) -> None:
        """The host has it mounted for us no more; idempotent."""
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(self._disk(number))

    def asked(self) -> set[int]:
        """What the host may have mounted for us, whoever asked."""
        return {number for number in map(number_of, os.listdir(self._disks)) if number is not None}

    def put(self, number: int, descriptor: str) -> None:
        """What the host has sent is mounted as that checkpoint. Several may be at once, each of another number."""
        mount_fd = self._given.take(descriptor)
        disk = self._disk(number)
        try:
            self.ask(number)
            mounts.move_mount(mount_fd, disk)
        finally:
            os.close(mount_fd)
            self._given.drop(descriptor)  # a stored duplicate would keep the filesystem busy
        try:
            self._put_root(number, disk)
        finally:
            mounts.umount(disk, mounts.Unmount.DETACH)

    def drop(self, number: int) -> None:
        """Of what the host has sent for it, and nobody will mount, nothing is kept."""
        self._given.drop(outward.descriptor_of(name_of(number)))

    def _put_root(self, number: int, disk: str) -> None:
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
        self._clear(number)
        with (
            _opened(os.open(os.path.join(disk, _ROOTFS), flags)) as root_fd,
            _opened(mounts.open_tree_at(root_fd, "", clone=True)) as tree_fd,
        ):
            mounts.set_attributes(tree_fd, add=_READ_ONLY)
            mounts.move_mount(tree_fd, self._path(number))

    def _clear(self, number: int) -> None:
        """A directory to mount it on; of somebody else's making there is only what is in the way. `OSError`."""
        path = self._path(number)
        if os.path.islink(path) or not os.path.isdir(path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.mkdir(path, 0o755)

    def take(self, number: int, *, though_in_use: bool) -> bool:
        """Whether it is mounted no more; not while somebody is in it, unless that does not matter."""
        path = self._path(number)
        try:
            how = mounts.Unmount.DETACH if though_in_use else mounts.Unmount.NONE
            mounts.umount(path, how | mounts.Unmount.NOFOLLOW)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # nothing is mounted
                raise
        with contextlib.suppress(OSError):  # an empty directory more
            os.rmdir(path)
        return True

    def enter(self, pid: int) -> None:
        """The world of that process, which does not run yet, has what is mounted here now and later."""
        with _opened(mounts.open_tree(self._directory, clone=True, recursive=True)) as tree_fd:
            slave = mounts.Propagation.SLAVE
            mounts.set_attributes(tree_fd, add=mounts.Attribute.RDONLY, propagation=slave, recursive=True)
            visit.visit(pid, visit.Namespace.MOUNT, lambda: mounts.move_mount(tree_fd, PLACE))

    def _disk(self, number: int) -> str:
        return os.path.join(self._disks, name_of(number))

    def _path(self, number: int) -> str:
        return os.path.join(self._directory, name_of(number))


@contextlib.contextmanager
def _opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
