"""Opens what a Plan wants opened before the clone, and closes it afterwards, however things go."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from .. import errors
from ..kernel import idmap, mounts
from ..plan.abi import MountAttribute
from ..plan.plan import IdMap, OpenFile, Opening, OpenMount, OpenNode, UserNamespace
from ..spec.document import IdMapping


@contextlib.contextmanager
def opened(openings: tuple[Opening, ...]) -> Iterator[dict[str, int]]:
    """Descriptors by slot; they are closed at the end. HostError when one cannot be opened."""
    with contextlib.ExitStack() as stack:
        descriptors: dict[str, int] = {}
        for opening in openings:
            try:
                fd = _open(opening)
            except OSError as error:
                what = opening.subject if isinstance(opening, OpenMount) and opening.subject else opening.describe()
                raise errors.HostError(f"{what}: {_reason(error)}") from error
            stack.callback(os.close, fd)
            descriptors[opening.slot] = fd
        yield descriptors


def _reason(error: OSError) -> str:
    """In the kernel's words, without the name of the system call."""
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _open(opening: Opening) -> int:
    if isinstance(opening, OpenFile):
        return os.open(opening.path, opening.flags | os.O_CLOEXEC)
    return _open_node(opening) if isinstance(opening, OpenNode) else _open_mount(opening)


def _open_node(opening: OpenNode) -> int:
    number = os.makedev(opening.major, opening.minor)
    try:
        return mounts.device_node(opening.mode, number, opening.uid, opening.gid)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EPERM}:
            raise
        return mounts.open_tree(opening.path, clone=True)


# As statfs(2) tells them. STRICTATIME it does not: that is the absence of the others.
_STATFS = {
    MountAttribute.RDONLY: os.ST_RDONLY,
    MountAttribute.NOSUID: os.ST_NOSUID,
    MountAttribute.NODEV: os.ST_NODEV,
    MountAttribute.NOEXEC: os.ST_NOEXEC,
    MountAttribute.NOATIME: os.ST_NOATIME,
}


_ACCESS_TIMES = MountAttribute.NOATIME | MountAttribute.STRICTATIME


def _check_locked(opening: OpenMount) -> None:
    flags = os.statvfs(opening.path).f_flag if opening.without else 0
    locked = [a for a, flag in _STATFS.items() if a in opening.without and flags & flag]
    if locked:
        # In runc's words, which tell what may be taken away from what may be exchanged alone.
        verb, kind = ("change", "locked atime flags") if locked[0] in _ACCESS_TIMES else ("clear", "locked flags")
        names = "|".join(f"MS_{attribute.name}" for attribute in locked)
        problem = f"failed to set user-requested vfs flags on bind-mount: cannot {verb} {kind} {names}"
        raise errors.HostError(f"{opening.subject or opening.describe()}: {problem}: operation not permitted")


def _open_mount(opening: OpenMount) -> int:
    _check_locked(opening)
    tree_fd = mounts.open_tree(opening.path, clone=True, recursive=opening.recursive)
    if opening.idmap is None:
        return tree_fd
    try:
        _idmap(tree_fd, opening.idmap, opening.idmap_recursive)
    except BaseException:
        os.close(tree_fd)
        raise
    return tree_fd


def _idmap(tree_fd: int, maps: IdMap, recursive: bool) -> None:
    if isinstance(maps, UserNamespace):
        userns_fd = os.open(maps.path, os.O_RDONLY | os.O_CLOEXEC)
    else:
        userns_fd = idmap.user_namespace(rows(maps.uids), rows(maps.gids))
    try:
        mounts.set_attributes(tree_fd, userns_fd=userns_fd, recursive=recursive)
    finally:
        os.close(userns_fd)


def rows(mappings: tuple[IdMapping, ...]) -> list[tuple[int, int, int]]:
    """As `kernel.idmap` takes them."""
    return [(row.container_id, row.host_id, row.size) for row in mappings]
