"""Removing parts of a tree that a stranger made: of any depth, never through a link, and sparing what is said.

One descriptor is open at a time, and the way back up is `..`: nobody else changes the tree meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

# Of an entry: the directory's inode and the entry's name.
Test = Callable[[int, bytes], bool]
Note = Callable[[int, bytes, int], None]


@dataclass
class _Level:
    """A directory on the way down."""

    inode: int
    parent: int
    name: bytes
    rest: list[bytes] = field(default_factory=list)
    kept: bool = False


def remove(directory_fd: int, name: bytes, spare: Test = lambda _, __: False, gone: Note = lambda *_: None) -> None:
    """Remove `name` and all below. What `spare` says stays, and so do the directories that lead to it.

    `gone` is told of each entry that went, with the inode that it had: the directory's own number may be used again.
    """
    here = os.fstat(directory_fd).st_ino
    found = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        if not spare(here, name):
            os.unlink(name, dir_fd=directory_fd)
            gone(here, name, found.st_ino)
        return
    fd = _enter(directory_fd, name)
    levels = [_Level(found.st_ino, here, name, _names(fd))]
    try:
        while levels:
            level = levels[-1]
            if level.rest:
                fd = _one(fd, level, level.rest.pop(), levels, spare, gone)
            else:
                levels.pop()
                fd = _leave(fd, os.dup(directory_fd) if not levels else _enter(fd, b".."))
                kept = level.kept or spare(level.parent, level.name)
                if kept and levels:
                    levels[-1].kept = True
                elif not kept:
                    os.rmdir(level.name, dir_fd=fd)
                    gone(level.parent, level.name, level.inode)
    finally:
        os.close(fd)


def _one(fd: int, level: _Level, name: bytes, levels: list[_Level], spare: Test, gone: Note) -> int:
    """Remove an entry of `level`, or go down into it; the descriptor of where the walk is now."""
    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        below = _enter(fd, name)
        levels.append(_Level(found.st_ino, level.inode, name, _names(below)))
        return _leave(fd, below)
    if spare(level.inode, name):
        level.kept = True
    else:
        os.unlink(name, dir_fd=fd)
        gone(level.inode, name, found.st_ino)
    return fd


def _enter(fd: int, name: bytes) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)


def _leave(fd: int, other: int) -> int:
    os.close(fd)
    return other


def _names(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]
