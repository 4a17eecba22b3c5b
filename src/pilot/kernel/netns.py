"""Network namespaces that have a name: each is mounted on a file, and lives as long as that mount or anybody in it.

    ensure("/run/netns/x")     a thread of ours: unshare(2), bind /proc/thread-self/ns/net on the file, end
    inside("/run/netns/x", f)  what f returns there (`visit`)
    remove("/run/netns/x")     unmount, unlink; what is in it goes when nothing holds it any more

The files are of the form that ip-netns(8) has: `ip netns exec x …` works on those in /run/netns.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

from . import mounts, syscalls, visit

_T = TypeVar("_T")

_CLONE_NEWNET = 0x40000000
CURRENT = "/proc/thread-self/ns/net"


def ensure(path: str) -> bool:
    """There is a namespace at `path`; whether it was made now. `OSError`."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    if is_named(path):
        return False
    visit.in_thread(visit.Namespace.NETWORK, _unshare, lambda: mounts.mount(CURRENT, path, "none", mounts.Flag.BIND))
    return True


def in_new(function: Callable[[], _T]) -> _T:
    """What `function` returns in a namespace without a name, which goes when nothing of it is held any more."""
    return visit.in_thread(visit.Namespace.NETWORK, _unshare, function)


def _unshare() -> None:
    syscalls.checked(syscalls.libc.unshare(_CLONE_NEWNET), "unshare")


def is_named(path: str) -> bool:
    """Whether a namespace is mounted at `path`."""
    try:
        return os.stat(path).st_dev == os.stat(CURRENT).st_dev  # all namespaces are files of one filesystem
    except FileNotFoundError:
        return False


def inside(path: str, function: Callable[[], _T]) -> _T:
    """What `function` returns in the namespace at `path`; what it raises is raised here."""
    return visit.visit_path(path, visit.Namespace.NETWORK, function)


def remove(path: str) -> None:
    """No name any more; gone already is fine. Links in it go with it when no process and no descriptor is left."""
    try:
        mounts.umount(path)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise  # else: it is not mounted
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # removed already
