"""A file that a process sees at some path, over whatever is there, and another one in its place while it is in use.

Each is in a filesystem of its own, which is read-only for everybody: root of another user namespace, which could make
the mount writable, finds the filesystem behind it is not.

Whoever opens the path sees the one or the other, whole: the new mount goes below the old one (MOVE_MOUNT_BENEATH, Linux
6.5), which is then taken away. Where the kernel does not do that, the new one goes over the old one, which stays below
as long as the namespace does. Who has the old one open has it open.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection

from . import inroot, mounts, visit
from .mounts import Attribute, Unmount

Identity = tuple[int, int]  # device and inode: no other file has them as long as it is mounted somewhere
_ATTRIBUTES = Attribute.RDONLY | Attribute.NOSUID | Attribute.NODEV | Attribute.NOEXEC
_NAME = "content"
_SPARE_BYTES = 1 << 16
# A path that leads to nothing that could be ours.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES})
# Of a kernel that does not know the flag; or nothing is mounted there, so that nothing can be put below it.
_NOT_BENEATH = frozenset({errno.EINVAL, errno.ENOSYS})


def make_file(directory: str, content: bytes, mode: int, uid: int, gid: int) -> int:
    """A detached mount of such a file, which the caller owns. `directory` is used meanwhile, and gone afterwards; what
    somebody who died has left there is taken away first. `OSError`."""
    clean(directory)
    os.mkdir(directory, 0o700)
    try:
        fs_fd = mounts.mount_detached(
            "tmpfs", {"mode": "0700", "size": str(len(content) + _SPARE_BYTES)}, _ATTRIBUTES & ~Attribute.RDONLY
        )
        try:
            mounts.move_mount(fs_fd, directory)
        finally:
            os.close(fs_fd)
        _write(os.path.join(directory, _NAME), content, mode, uid, gid)
        _make_read_only(directory)
        mount_fd = mounts.open_tree(os.path.join(directory, _NAME), clone=True)
        mounts.set_attributes(mount_fd, add=_ATTRIBUTES)
        return mount_fd
    finally:
        clean(directory)


def clean(directory: str) -> None:
    """Nothing is there; idempotent. `OSError`."""
    with contextlib.suppress(FileNotFoundError):
        while mounts.is_mount_point(directory):
            mounts.umount(directory, Unmount.DETACH | Unmount.NOFOLLOW)
        os.rmdir(directory)


def identity(fd_or_path: int | str) -> Identity:
    """Of a file: a mount that `make_file` made, or what was bound at the start. `OSError`."""
    found = os.stat(fd_or_path)
    return found.st_dev, found.st_ino


def replace(pid_fd: int, mount_fd: int, target: str, ours: Collection[Identity]) -> str | None:
    """That process sees the detached mount of a file at `target` by now, in its mount namespace's own root: None.
    Otherwise why it does not, and nothing was done: whatever is there is none of `ours`.

    Whoever owns a directory of the path may have put something else there, a link that leads anywhere among it: what
    counts is what is there in the end. `OSError`, also when the process has ended.
    """
    # Ours, since /proc of that namespace is whatever its root has mounted there.
    own_fd = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return visit.visit_pidfd(pid_fd, visit.Namespace.MOUNT, lambda: _replace(own_fd, mount_fd, target, ours))
    finally:
        os.close(own_fd)


def _replace(own_fd: int, mount_fd: int, target: str, ours: Collection[Identity]) -> str | None:
    try:
        place_fd = _open(target)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return os.strerror(error.errno)
    try:
        if identity(place_fd) not in ours:
            return "another file is there"
        _exchange(own_fd, mount_fd, place_fd)
        return None
    finally:
        os.close(place_fd)


def _open(target: str) -> int:
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return inroot.open_in_root(root_fd, target, os.O_PATH)
    finally:
        os.close(root_fd)


def _exchange(own_fd: int, mount_fd: int, place_fd: int) -> None:
    try:
        mounts.move_mount(mount_fd, place_fd, beneath=True)
    except OSError as error:
        if error.errno not in _NOT_BENEATH:
            raise
        mounts.move_mount(mount_fd, place_fd)
        return
    # That mount and no other, whatever the path leads to by now. The directory is this thread's alone (`visit`).
    os.fchdir(own_fd)
    mounts.umount(str(place_fd), Unmount.DETACH)


def _write(path: str, content: bytes, mode: int, uid: int, gid: int) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags | os.O_CLOEXEC, 0o600)) as file:
        file.write(content)
        os.fchown(file.fileno(), uid, gid)
        os.fchmod(file.fileno(), mode)


def _make_read_only(directory: str) -> None:
    fs_fd = mounts.fspick(directory)
    try:
        mounts.fsconfig(fs_fd, "ro")
        mounts.reconfigure(fs_fd)
    finally:
        os.close(fs_fd)
