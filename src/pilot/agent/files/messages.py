"""What the agent asks a child for, and how it answers: one packet of JSON each way, descriptors beside it.

Paths are as the client told them (`text`); the child cleans and parses them. An answer with `problem` has no
descriptor.
"""

from __future__ import annotations

import errno
import os

import msgspec

MAX_PACKET_BYTES = 128 << 10


class Request(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`long`: it may take a while, so only some of these run at a time."""

    working_dir: str = "/"

    @property
    def long(self) -> bool:
        return False


class ListFiles(Request, frozen=True, kw_only=True):
    """Answer: rows."""

    path: str
    recursive: bool
    pattern: str

    @property
    def long(self) -> bool:
        return True


class OpenForReading(Request, frozen=True, kw_only=True):
    """Answer: `path`, `size_bytes`, and the file."""

    path: str


class OpenForWriting(Request, frozen=True, kw_only=True):
    """Answer: `path`, and the file. `offset`: of one that is there and has so much, all up to there is kept; None: it
    is made, or emptied."""

    path: str
    mode: int | None
    make_parents: bool
    offset: int | None = None


class Delete(Request, frozen=True, kw_only=True):
    """Answer: `path`."""

    path: str
    recursive: bool

    @property
    def long(self) -> bool:
        return self.recursive


class Rename(Request, frozen=True, kw_only=True):
    """Answer: `path` and `dest`."""

    source: str
    dest: str


class Copy(Request, frozen=True, kw_only=True):
    """Answer: rows."""

    source: str
    dest: str
    recursive: bool
    preserve: bool

    @property
    def long(self) -> bool:
        return True


class ChangeMode(Request, frozen=True, kw_only=True):
    """Answer: rows."""

    path: str
    mode: int
    recursive: bool

    @property
    def long(self) -> bool:
        return self.recursive


class ChangeOwner(Request, frozen=True, kw_only=True):
    """Answer: rows. Ids are numbers, or names of the world's own; None leaves it."""

    path: str
    uid: int | str | None
    gid: int | str | None
    recursive: bool

    @property
    def long(self) -> bool:
        return self.recursive


class Watch(Request, frozen=True, kw_only=True):
    """Sets watches; comes with an inotify descriptor, or is answered with a new one. Answer: `Watched` rows.

    `room`: how many more watches may be set. With `tell_found` everything that is there is told too, not only
    directories.
    """

    paths: list[str]
    recursive: bool
    room: int
    tell_found: bool = False

    @property
    def long(self) -> bool:
        return self.recursive


class Sizes(Request, frozen=True, kw_only=True):
    """Answer: `sizes`, 0 for what is not there."""

    paths: list[str]


AnyRequest = (
    ListFiles | OpenForReading | OpenForWriting | Delete | Rename | Copy | ChangeMode | ChangeOwner | Watch | Sizes
)


class Watched(msgspec.Struct, frozen=True, array_like=True):
    """One row of the answer to Watch: a watch and its path, or (watch 0) an entry that was found."""

    watch: int
    path: str
    is_dir: bool
    size: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An `OSError`, or (errno 0) a request that makes no sense."""

    errno: int
    text: str
    path: str | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How it went."""

    path: str = ""
    dest: str = ""
    size_bytes: int = 0
    sizes: list[int] = []
    problem: Problem | None = None


def problem(error: OSError, path: str | None) -> Problem:
    """An error as the child tells it; `path` is text."""
    code = error.errno or errno.EIO
    return Problem(errno=code, text=error.strerror or os.strerror(code), path=path)
