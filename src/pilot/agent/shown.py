"""What containers are shown read-only, so that their root cannot make it writable again.

    <run>          the agent writes there
    <run>/shown    the same once more, mounted read-only: where binds into containers are taken from

A container has a mount namespace of another user namespace than the agent's, in which flags that mounts have outside
are locked (mount_namespaces(7)): a copy that it makes of a mount which is read-only here stays read-only, whoever
mounts it anew. That is why its own process copies it (`x-pilot.locked`), and not the agent.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from ..kernel import mounts
from ..spec.mount_options import LOCKED
from .machine import Paths

_ATTRIBUTES = mounts.Attribute.RDONLY | mounts.Attribute.NOSUID | mounts.Attribute.NODEV
_lock = threading.Lock()


def ensure(paths: Paths) -> None:
    """It is mounted; idempotent, from any thread. What is mounted below `run` is not seen in it. `OSError`."""
    with _lock:
        os.makedirs(paths.shown, mode=0o700, exist_ok=True)
        if not _is_read_only(paths.shown):
            _mount(paths.run, paths.shown)


def source(paths: Paths, path: str) -> str:
    """Where something below `run`, with nothing mounted between them, is read-only."""
    return os.path.join(paths.shown, os.path.relpath(path, paths.run))


def bind(source: str, destination: str, *options: str) -> dict[str, object]:
    """An entry of config.json's mounts, of what is read-only in the machine: for the container's root, too."""
    return {
        "type": "bind", "source": source, "destination": destination, "options": ["bind", LOCKED, "ro", *options],
    }  # fmt: skip


@contextlib.contextmanager
def holding(directory: str) -> Iterator[Held]:
    """Read-only mounts for as long as a container is made, which has its own of them from then on."""
    held = Held(directory)
    held.drop()  # of an agent that died meanwhile
    try:
        yield held
    finally:
        held.drop()


class Held:
    """<directory>/<number>: one each."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def add(self, path: str) -> str:
        """Where that is mounted read-only, with what is mounted below it. `OSError`."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        place = os.path.join(self._directory, str(len(os.listdir(self._directory))))
        if os.path.isdir(path):
            os.mkdir(place, 0o700)
        else:
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _mount(path, place, recursive=True)
        return place

    def drop(self) -> None:
        """None are left; idempotent. `OSError`."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._directory):
                place = os.path.join(self._directory, name)
                if mounts.is_mount_point(place):
                    mounts.umount(place, mounts.Unmount.DETACH | mounts.Unmount.NOFOLLOW)
                os.rmdir(place) if os.path.isdir(place) else os.unlink(place)


def _mount(source: str, target: str, *, recursive: bool = False) -> None:
    fd = mounts.open_tree(source, clone=True, recursive=recursive)
    try:
        mounts.set_attributes(fd, add=_ATTRIBUTES)
        mounts.move_mount(fd, target)
    finally:
        os.close(fd)


def _is_read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
