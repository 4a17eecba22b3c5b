"""A walk through a directory tree that neither recurses nor holds a descriptor for each level.

Trees are as deep as somebody made them, beyond any path's length and any stack's: so directories are opened one from
the other, and of a deep chain the deepest HELD stay open; the others are found again by "..", and compared. Links are
not followed, the kernel's own filesystems not entered. What cannot be looked at is told to `on_error`, and the rest
goes on.
"""

from __future__ import annotations

import enum
import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ...kernel import filesystems

HELD = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OnError = Callable[[str, OSError], None]


class Directories:
    """A chain of directories, each in the one before. Owns their descriptors, the first one's too."""

    def __init__(self, top_fd: int) -> None:
        self._fds = [top_fd]
        self._identities = [_identity(top_fd)]

    @property
    def fd(self) -> int:
        """The deepest one's."""
        return self._fds[-1]

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the deepest one."""
        return self._identities[-1]

    def enter(self, name: str) -> None:
        """Go down; `OSError` leaves it where it is."""
        fd = os.open(name, _DIRECTORY, dir_fd=self.fd)
        self._fds.append(fd)
        self._identities.append(_identity(fd))
        distant = len(self._fds) - 1 - HELD
        if distant > 0 and self._fds[distant] >= 0:
            os.close(self._fds[distant])
            self._fds[distant] = -1

    def leave(self) -> None:
        """Go up; ESTALE when somebody has moved the directory away meanwhile."""
        below = self._fds.pop()
        self._identities.pop()
        try:
            if self._fds[-1] < 0:
                self._fds[-1] = self._found_again(below)
        finally:
            os.close(below)

    def close(self) -> None:
        for fd in self._fds:
            if fd >= 0:
                os.close(fd)
        self._fds.clear()

    def _found_again(self, below: int) -> int:
        fd = os.open("..", _DIRECTORY, dir_fd=below)
        if _identity(fd) != self._identities[-1]:
            os.close(fd)
            raise OSError(errno.ESTALE, "a directory was moved away")
        return fd


class Moment(enum.Enum):
    """When of an entry a visit is: at its sight; for directories, also once it is open, and when all in it is done."""

    SEEN = enum.auto()
    ENTERED = enum.auto()
    LEFT = enum.auto()


class Visit(NamedTuple):
    """`name` is in the directory `dir_fd`, which is the walk's and good until the next visit."""

    moment: Moment
    dir_fd: int
    name: str
    path: str
    status: os.stat_result


class _Level(NamedTuple):
    names: deque[str]
    path: str
    name: str
    status: os.stat_result


class Walk:
    """Everything below `top_fd` (borrowed), each directory's entries by name, directories before what is in them."""

    def __init__(self, top_fd: int, path: str, *, recursive: bool, on_error: OnError) -> None:
        self._directories = Directories(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top_fd))
        self._path = path.rstrip("/")
        self._recursive = recursive
        self._on_error = on_error
        self._pruned = False

    def prune(self) -> None:
        """Do not enter the directory that was just seen."""
        self._pruned = True

    def __iter__(self) -> Iterator[Visit]:
        try:
            yield from self._visits()
        finally:
            self._directories.close()

    def _visits(self) -> Iterator[Visit]:
        top = os.fstat(self._directories.fd)
        levels = [_Level(_names(self._directories.fd), self._path, "", top)]
        while levels:
            level = levels[-1]
            if level.names:
                yield from self._entry(levels, level.names.popleft())
                continue
            levels.pop()
            if levels:
                self._directories.leave()
                yield Visit(Moment.LEFT, self._directories.fd, level.name, level.path, level.status)

    def _entry(self, levels: list[_Level], name: str) -> Iterator[Visit]:
        """One entry seen, and entered if it is to be."""
        path = f"{levels[-1].path}/{name}"
        try:
            status = os.stat(name, dir_fd=self._directories.fd, follow_symlinks=False)
        except FileNotFoundError:
            return  # deleted meanwhile
        except OSError as error:
            self._on_error(path, error)
            return
        self._pruned = False
        yield Visit(Moment.SEEN, self._directories.fd, name, path, status)
        if not (self._recursive and stat.S_ISDIR(status.st_mode)) or self._pruned:
            return
        level = self._enter(name, path, status)
        if level is not None:
            levels.append(level)
            yield Visit(Moment.ENTERED, self._directories.fd, name, path, status)

    def _enter(self, name: str, path: str, status: os.stat_result) -> _Level | None:
        device = self._directories.identity[0]
        try:
            self._directories.enter(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._on_error(path, error)
            return None
        try:
            if self._directories.identity[0] == device or not filesystems.is_kernel_own(self._directories.fd):
                return _Level(_names(self._directories.fd), path, name, status)
        except OSError as error:
            self._on_error(path, error)
        self._directories.leave()
        return None


def _names(dir_fd: int) -> deque[str]:
    return deque(sorted(os.listdir(dir_fd)))


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
