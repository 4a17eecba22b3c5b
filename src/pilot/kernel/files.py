"""Files that others, and a power loss, find as a whole or not at all.

replace      temporary name ─ write ─ (fsync) ─ rename ─ (fsync of the directory)
whole        the same for an output whose place somebody names, which may be a link, a device or a pipe
lock         flock on a file of its own: the kernel lets go when the holder dies
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from typing import BinaryIO

from .. import errors

LOCK_TIMEOUT_S = 3.0


def sync_directory(path: str) -> None:
    """Names in this directory, as they are now, survive a power loss."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_all(path: str) -> None:
    """The files in a directory, and then the directory itself: in one go, as each sync of a journalling filesystem
    carries what the others would have waited for."""
    with os.scandir(path) as entries:
        names = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
    for name in names:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    sync_directory(path)


def replace(path: str, data: bytes, *, mode: int = 0o600, durable: bool = False) -> None:
    """The file's content becomes `data`: a reader sees the old one or the new one. `durable`: so does whoever comes
    after a power loss, once this has returned. OSError; nothing of it is left then."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.urandom(4).hex()}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # whatever went wrong is told; a stale temporary harms nobody
            os.unlink(temporary)
        raise
    if durable:
        sync_directory(directory or ".")


@contextlib.contextmanager
def whole(path: str, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """What somebody names as the place of an output, to be written for the block: it is there as a whole and for good
    when the block ends, or is what it was before. A link stays one; what is there and no file (a device, a pipe) is
    written to; `-` is standard output. Nobody may read it who could not read the file that was there. OSError."""
    if path == "-" or (os.path.exists(path) and not os.path.isfile(path)):
        with open(os.dup(1) if path == "-" else os.open(path, os.O_WRONLY | os.O_CLOEXEC), "wb") as out:
            yield out
        return
    place = os.path.realpath(path)
    temporary = f"{place}.{os.urandom(4).hex()}.new"
    before = stat.S_IMODE(os.stat(place).st_mode) if os.path.exists(place) else 0o777
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & before)
    try:
        with open(fd, "wb") as out:
            yield out
            out.flush()
            os.fsync(fd)
        os.rename(temporary, place)
    except BaseException:
        with contextlib.suppress(OSError):  # whatever went wrong is told; a stale temporary harms nobody
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(place))


def write_all(fd: int, data: bytes) -> None:
    """All of it: write(2) may take a part (man 2 write), at the end of a full disk for one."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


@contextlib.contextmanager
def held(path: str) -> Iterator[None]:
    """Hold the lock on this file for the block. Waits for as long as somebody else does."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def shared(path: str) -> Iterator[None]:
    """Hold the lock on this file for the block, beside others who share it. Waits for who holds it alone."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def alone(path: str) -> Iterator[bool]:
    """Whether nobody else has the lock on this file, not even shared; for the block it is ours then. Does not wait."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


@contextlib.contextmanager
def directory_held(path: str) -> Iterator[None]:
    """As `held`, of a directory that there is."""
    with _directory(path) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def directory_alone(path: str) -> Iterator[bool]:
    """As `alone`, of a directory that there is."""
    with _directory(path) as fd:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextlib.contextmanager
def _directory(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def lock(path: str, refusal: str, timeout_s: float = LOCK_TIMEOUT_S) -> int:
    """The locked file's descriptor: held until it is closed. StateError with `refusal` when it stays taken.

    Waits a little: a killed predecessor may still be on its way out.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise errors.StateError(refusal) from None
            time.sleep(0.005)
        except BaseException:
            os.close(fd)
            raise


@contextlib.contextmanager
def in_memory(name: str, data: bytes) -> Iterator[str]:
    """A path that has those bytes, and no disk: for libraries that read files only."""
    memory_fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        write_all(memory_fd, data)
        yield f"/proc/self/fd/{memory_fd}"
    finally:
        os.close(memory_fd)
