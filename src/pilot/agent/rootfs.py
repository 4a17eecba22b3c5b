"""A directory tree seen as a root: paths are resolved by the kernel as after chroot(2), so no link leads out of it.

The world's root is `/proc/<pid>/root` of its PID 1, opened once: mounts of the world are seen through it. Work on the
last component goes through a descriptor of its directory, so nothing can be swapped between looking and doing. The
kernel's own filesystems (/proc, /sys, ...) are EACCES: what is there are no files.
Everything here blocks; paths are made absolute and plain (`clean`) first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
from collections.abc import Iterator

from ..kernel import filesystems, inroot

_SMALL_BYTES = 1 << 20


MAX_PATH_BYTES = 64 << 10


def clean(path: str, working_dir: str = "/") -> str:
    """An absolute path without `.`, `..` or empty parts; `OSError` when it has none or a NUL, or is no path's
    length."""
    if len(path) + len(working_dir) > MAX_PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if not path or "\0" in path or "\0" in working_dir:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return posixpath.normpath(posixpath.join("/", working_dir, path).replace("//", "/"))


class Root:
    """Owns a descriptor of the root directory."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd

    @classmethod
    def open(cls, path: str) -> Root:
        return cls(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def close(self) -> None:
        os.close(self._root_fd)

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_fd(self, path: str, flags: int, mode: int = 0) -> int:
        """The caller owns the descriptor. EACCES on a filesystem of the kernel's own."""
        if not flags & (os.O_PATH | os.O_CREAT):
            # To open may already do something: first look at where it is.
            os.close(self.open_fd(path, os.O_PATH))
        fd = inroot.open_in_root(self._root_fd, path, flags, mode)
        if filesystems.is_kernel_own(fd):
            os.close(fd)
            raise OSError(errno.EACCES, "a filesystem of the kernel's own", path)
        return fd

    @contextlib.contextmanager
    def opened(self, path: str, flags: int, mode: int = 0) -> Iterator[int]:
        """A descriptor for the length of a `with`."""
        fd = self.open_fd(path, flags, mode)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The directory that holds `path`, and the name in it; EBUSY for the root itself."""
        directory, name = posixpath.split(path)
        if not name:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        with self.opened(directory, os.O_PATH | os.O_DIRECTORY) as dir_fd:
            yield dir_fd, name

    def make_directories(self, path: str, mode: int = 0o755) -> None:
        """`path` and what is missing above it; each new one belongs to the owner of the directory that it is in."""
        missing = []
        while path != "/":
            try:
                with self.opened(path, os.O_PATH | os.O_DIRECTORY):
                    break
            except FileNotFoundError:
                missing.append(path)
                path = posixpath.dirname(path)
        for each in reversed(missing):
            with self.parent(each) as (dir_fd, name):
                make_directory(dir_fd, name, mode)

    def create_file(self, path: str, mode: int) -> int:
        """Open for writing, empty; a new file belongs to the owner of its directory. The caller owns the descriptor."""
        flags = os.O_WRONLY | os.O_NONBLOCK
        with self.parent(path) as (dir_fd, name):
            owner = os.fstat(dir_fd)
            try:
                # In that very directory, whatever its path leads to by now.
                fd = os.open(name, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o7777, dir_fd=dir_fd)
            except FileExistsError:
                return self._open_existing(path, flags, mode & 0o7777)
            except OSError as error:
                error.filename = path
                raise
        try:
            os.fchown(fd, owner.st_uid, owner.st_gid)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _open_existing(self, path: str, flags: int, mode: int) -> int:
        try:
            return self.open_fd(path, flags | os.O_TRUNC)
        except FileNotFoundError:
            # A dangling link: O_CREAT without O_EXCL makes its target.
            return self.open_fd(path, flags | os.O_CREAT | os.O_TRUNC, mode)

    def write_file(self, path: str, content: bytes, mode: int) -> None:
        """Replace the content of a small file."""
        fd = self.create_file(path, mode)
        with open(fd, "wb") as file:
            file.write(content)

    def ensure_file(self, path: str, content: bytes, mode: int) -> None:
        """Write it unless something is there (a dangling link counts as something)."""
        with self.parent(path) as (dir_fd, name):
            try:
                os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            except FileNotFoundError:
                self.write_file(path, content, mode)

    def read_small(self, path: str) -> str:
        """Text of a small file, "" when it cannot be read: what the user may have broken is not our error."""
        try:
            with self.opened(path, os.O_RDONLY | os.O_NONBLOCK) as fd:
                return os.read(fd, _SMALL_BYTES).decode(errors="replace")
        except OSError:
            return ""


def make_directory(dir_fd: int, name: str, mode: int) -> None:
    """A directory of the owner of the one that it is in; nothing when something of that name is there."""
    try:
        os.mkdir(name, mode, dir_fd=dir_fd)
    except FileExistsError:
        return  # somebody else made it in between
    owner = os.fstat(dir_fd)
    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=dir_fd, follow_symlinks=False)
