"""What is in a checkpoint: directories and files of it, without restoring it. A look at a disk for each question
(`looking`), by which nothing is left; paths are resolved as the sprite would, and lead nowhere else.

A virtual machine's disk is never mounted by the host, so it cannot be looked into.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from ... import errors
from ...ids import CheckpointId, VolumeId
from ...kernel import inroot
from ...wire import faults
from . import looking
from .lending import Lending, Lent
from .looking import Looking

MOST_ENTRIES = 10_000
MOST_BYTES = 64 << 20
MOST_DIFFERENCE_BYTES = 256 << 20
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
_WORDS = {errno.ENOENT: errors.NotFound, errno.ENOTDIR: errors.NotFound, errno.ENAMETOOLONG: faults.InvalidRequest}


@dataclasses.dataclass(frozen=True)
class Entry:
    """`name`: with what is no text escaped as Python has it (`surrogateescape`). `target`: of a link."""

    name: str
    path: str
    kind: str
    size_bytes: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    target: str | None


class Browsing:
    """All block. `NotFound` for a path that is not there; `Unsupported` and `Exhausted` as `Looking` has it."""

    def __init__(self, disks: Looking, lending: Lending) -> None:
        self._looking = disks
        self._lending = lending

    def entries(self, volume: VolumeId, point: CheckpointId, path: str) -> list[Entry]:
        """Of a directory, by name; of anything else the one that it is, which is not followed."""
        with self._place(volume, point, path, os.O_PATH | os.O_NOFOLLOW) as fd:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                return [_entry(posixpath.normpath(path), os.fstat(fd), lambda: os.readlink("", dir_fd=fd))]
            with contextlib.closing(os.scandir(f"/proc/self/fd/{fd}")) as found:
                names = sorted(each.name for each in _at_most(found))
            return [_at(fd, path, name) for name in names]

    def difference(self, organisation: str, volume: VolumeId, points: Sequence[CheckpointId | None]) -> IO[bytes]:
        """See `Looking.difference`; what is returned is the caller's to close."""
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(self._lending.file(organisation, "compare", MOST_DIFFERENCE_BYTES))
            self._looking.difference(volume, points, out)
            stack.pop_all()  # whole: it is the caller's
            return out

    @contextlib.contextmanager
    def _place(self, volume: VolumeId, point: CheckpointId, path: str, flags: int) -> Iterator[int]:
        with self._looking.disks([(volume, point)], "browse") as [disk_fd], contextlib.ExitStack() as stack:
            try:
                root_fd = stack.enter_context(looking.root(disk_fd))
                fd = inroot.open_in_root(root_fd, path, flags)
                stack.callback(os.close, fd)
            except OSError as error:
                kind = _WORDS.get(error.errno or 0, errors.HostError)
                raise kind(f"{path}: {(error.strerror or str(error)).lower()}") from error
            yield fd

    def size(self, volume: VolumeId, point: CheckpointId, path: str) -> int:
        """Of a file, which `file` would copy."""
        with self._place(volume, point, path, os.O_PATH) as fd:
            return _size(fd, path)

    def file(self, who: str, volume: VolumeId, point: CheckpointId, path: str) -> tuple[Lent, int]:
        """A copy of the file, the caller's to close, and its length. Only of files: to open a FIFO waits, and a device
        is this host's. `who`: for whom it is `Lent`."""
        with self._place(volume, point, path, os.O_PATH) as fd, contextlib.ExitStack() as stack:
            size_bytes = _size(fd, path)
            copy = stack.enter_context(self._lending.file(who, "read", size_bytes, size_bytes))
            with open(f"/proc/self/fd/{fd}", "rb") as file, open(copy.fileno(), "wb", closefd=False) as out:
                shutil.copyfileobj(file, out, 1 << 20)
            copy.written()
            stack.pop_all()  # whole: it is the caller's
            return copy, size_bytes


def _size(fd: int, path: str) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise faults.InvalidRequest(f"{path}: not a file")
    if status.st_size > MOST_BYTES:
        raise faults.InvalidRequest(
            f"{path}: {status.st_size} bytes; {MOST_BYTES} are read of a checkpoint", hint="fork it"
        )
    return status.st_size


def _at_most(found: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    for count, each in enumerate(found):
        if count == MOST_ENTRIES:
            raise faults.InvalidRequest(f"more than {MOST_ENTRIES} entries", hint="fork it")
        yield each


def _at(directory_fd: int, path: str, name: str) -> Entry:
    status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    return _entry(posixpath.join(path, name), status, lambda: os.readlink(name, dir_fd=directory_fd))


def _entry(path: str, status: os.stat_result, target: Callable[[], str]) -> Entry:
    kind = stat.S_IFMT(status.st_mode)
    return Entry(
        name=posixpath.basename(path) or "/",
        path=path,
        kind=_KINDS.get(kind, "other"),
        size_bytes=status.st_size,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        target=target() if kind == stat.S_IFLNK else None,
    )
