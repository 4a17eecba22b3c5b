"""What the fs calls do, on a `Root`. Blocking; every error is an `OSError` whose filename is the path in the world.

Work is done as root. What is made belongs to the owner of the directory it is made in, so files under /home/sprite are
sprite's and files under /root are root's. In a tree one odd entry does not stop the rest: it is told at the end.

A descriptor is a path here (`_path_of`): the child's working directory is its own /proc/self/fd.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import posixpath
import stat
from collections.abc import Callable, Iterator

import msgspec

from ...kernel import filesystems
from ...wire import schema, timestamps
from ..decimals import parse_decimal
from ..rootfs import Root, make_directory
from . import text
from .rows import Rows
from .tree import Directories, Moment, Visit, Walk

_COPY_BYTES = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
# A copy stops at these: each further file would fail in the same way.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
LATEST = "9999-12-31T23:59:59.999999Z"
EARLIEST = "0001-01-01T00:00:00.000000Z"


def timestamp(time_ns: int) -> tuple[str, bool]:
    """RFC 3339 of a file's time, and whether it had to be clamped: the format ends with the year 9999."""
    try:
        return timestamps.of_us(time_ns // 1000), False
    except OverflowError:
        return (LATEST if time_ns > 0 else EARLIEST), True


def entry(path: str, status: os.stat_result) -> schema.Entry:
    """One row of a listing."""
    time, clamped = timestamp(status.st_mtime_ns)
    return schema.Entry(
        name=text.tell(posixpath.basename(path)) or "/",
        path=text.tell(path),
        type=_kind(status.st_mode),
        size=status.st_size,
        mode=f"{stat.S_IMODE(status.st_mode):o}",
        mod_time=time,
        is_dir=stat.S_ISDIR(status.st_mode),
        mod_time_clamped=clamped,
    )


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "file"


class Skipped:
    """Entries that something was wrong with, while the rest went on."""

    MOST_TOLD = 100

    def __init__(self) -> None:
        self.first: OSError | None = None
        self.rows: list[schema.SkippedEntry] = []

    def __call__(self, path: str, error: OSError) -> None:
        error.filename = path
        self.first = self.first or error
        if len(self.rows) < self.MOST_TOLD:
            reason = error.strerror or os.strerror(error.errno or errno.EIO)
            self.rows.append(schema.SkippedEntry(path=text.tell(path), error=reason.lower()))

    def told(self) -> dict[str, list[schema.SkippedEntry]]:
        """A member of the answer, when there is something to tell."""
        return {"skipped": self.rows} if self.rows else {}


@contextlib.contextmanager
def _at(path: str) -> Iterator[None]:
    """What fails in here concerns `path`."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


def _path_of(fd: int) -> str:
    return str(fd)


def list_entries(root: Root, path: str, *, recursive: bool, pattern: str) -> int:
    """Rows: the children of a directory, by name (all below it with `recursive`), or the one entry of anything else."""
    skipped = Skipped()
    with Rows("entries", path=text.tell(path)) as rows, root.opened(path, os.O_PATH) as fd:
        status = os.fstat(fd)
        if not stat.S_ISDIR(status.st_mode):
            rows.add(entry(path, status))
            return rows.finish()
        with root.opened(path, _DIRECTORY) as dir_fd:
            for visit in Walk(dir_fd, path, recursive=recursive, on_error=skipped):
                if visit.moment is Moment.SEEN and (not pattern or fnmatch.fnmatchcase(visit.name, pattern)):
                    rows.add(entry(visit.path, visit.status))
        return rows.finish(**skipped.told())


def open_for_reading(root: Root, path: str) -> tuple[int, int]:
    """(descriptor that the caller owns, size); only regular files: a fifo would hang, a device has no size."""
    with root.opened(path, os.O_PATH) as place:
        status = os.fstat(place)
        if not stat.S_ISREG(status.st_mode):
            code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
            raise OSError(code, os.strerror(code), path)
        with _at(path):
            return os.open(_path_of(place), os.O_RDONLY | os.O_CLOEXEC), status.st_size


def open_for_writing(root: Root, path: str, mode: int | None, *, make_parents: bool) -> int:
    """An empty regular file of this mode; the caller owns the descriptor."""
    if make_parents:
        root.make_directories(posixpath.dirname(path))
    fd = root.create_file(path, 0o644 if mode is None else mode)
    try:
        _settle(fd, path, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _settle(fd: int, path: str, mode: int | None) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    if mode is not None:
        os.fchmod(fd, mode & 0o7777)


def open_to_go_on(root: Root, path: str, mode: int | None, offset: int) -> int:
    """A regular file that ends at `offset`, to be written from there on; what it had beyond is gone. The caller owns
    the descriptor. EINVAL for one that is shorter."""
    fd = root.open_fd(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        _settle(fd, path, mode)
        size_bytes = os.fstat(fd).st_size
        if size_bytes < offset:
            raise OSError(errno.EINVAL, f"it has {size_bytes} bytes, and not {offset}", path)
        os.ftruncate(fd, offset)
        os.lseek(fd, offset, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def delete(root: Root, path: str, *, recursive: bool) -> None:
    """A file, a link, an empty directory, or with `recursive` a tree (links in it are not followed)."""
    with root.parent(path) as (dir_fd, name), _at(path):
        if not stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=dir_fd)
            return
        if recursive:
            _empty(dir_fd, name, path)
        os.rmdir(name, dir_fd=dir_fd)


def _empty(dir_fd: int, name: str, path: str) -> None:
    skipped = Skipped()
    fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        for visit in Walk(fd, path, recursive=True, on_error=skipped):
            try:
                _remove(visit)
            except FileNotFoundError:
                continue  # somebody else did it
            except OSError as error:
                skipped(visit.path, error)
    finally:
        os.close(fd)
    if skipped.first is not None:
        raise skipped.first


def _remove(visit: Visit) -> None:
    is_dir = stat.S_ISDIR(visit.status.st_mode)
    if visit.moment is Moment.LEFT:
        os.rmdir(visit.name, dir_fd=visit.dir_fd)
    elif visit.moment is Moment.SEEN and not is_dir:
        os.unlink(visit.name, dir_fd=visit.dir_fd)


def rename(root: Root, source: str, dest: str) -> None:
    """rename(2): replaces a file, or an empty directory by a directory."""
    with root.parent(source) as (source_fd, source_name), root.parent(dest) as (dest_fd, dest_name), _at(source):
        os.rename(source_name, dest_name, src_dir_fd=source_fd, dst_dir_fd=dest_fd)


def copy(root: Root, source: str, dest: str, *, recursive: bool, preserve: bool) -> int:
    """Rows: what was copied. An existing directory `dest` is copied into, as cp does."""
    with root.opened(source, os.O_PATH) as source_fd:
        status = os.fstat(source_fd)
        if stat.S_ISDIR(status.st_mode) and not recursive:
            raise OSError(errno.EISDIR, "is a directory, and recursive is not set", source)
        if _is_directory(root, dest):
            dest = posixpath.join(dest, posixpath.basename(source))
        if stat.S_ISDIR(status.st_mode) and (dest + "/").startswith(source.rstrip("/") + "/"):
            raise OSError(errno.EINVAL, "cannot copy a directory into itself", dest)
        with Rows("copied") as rows:
            copying = _Copying(rows, source, dest, preserve)
            root.make_directories(posixpath.dirname(dest))
            with root.parent(dest) as (dest_fd, name):
                copying.top(source_fd, status, dest_fd, name)
            if copying.skipped.first is not None:
                raise copying.skipped.first
            return rows.finish(totalBytes=copying.total_bytes)


class _Copying:
    """One copy: where from, where to, how much so far."""

    def __init__(self, rows: Rows, source: str, dest: str, preserve: bool) -> None:
        self._rows = rows
        self._source = source.rstrip("/")
        self._dest = dest
        self._preserve = preserve
        self.skipped = Skipped()
        self.total_bytes = 0

    def top(self, source_fd: int, status: os.stat_result, dest_fd: int, name: str) -> None:
        """What was named, which an error concerns alone, and all below it."""
        with _at(self._source):
            if not stat.S_ISDIR(status.st_mode):
                self._copy_file(_path_of(source_fd), None, status, dest_fd, name)
                self._tell(self._source)
                return
            _make_like(dest_fd, name, status)
            self._tell(self._source)
            into = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dest_fd)
            below = os.open(_path_of(source_fd), _DIRECTORY | os.O_CLOEXEC)
        try:
            self._tree(below, Directories(into), status)
        finally:
            os.close(below)

    def _tree(self, source_fd: int, into: Directories, status: os.stat_result) -> None:
        walk = Walk(source_fd, self._source, recursive=True, on_error=self.skipped)
        top = into.identity
        try:
            for visit in walk:
                try:
                    self._visit(visit, into, walk, top)
                except OSError as error:
                    self.skipped(visit.path, error)
                    if error.errno in _FULL:
                        raise
                    walk.prune()
            self._keep_attributes(into.fd, status)
        finally:
            into.close()

    def _visit(self, visit: Visit, into: Directories, walk: Walk, top: tuple[int, int]) -> None:
        status = visit.status
        if visit.moment is Moment.ENTERED:
            into.enter(visit.name)
        elif visit.moment is Moment.LEFT:
            self._keep_attributes(into.fd, status)
            into.leave()
        elif (status.st_dev, status.st_ino) == top:
            walk.prune()  # the copy itself, reached by another name
        elif stat.S_ISDIR(status.st_mode):
            _make_like(into.fd, visit.name, status)
            self._tell(visit.path)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(visit.name, dir_fd=visit.dir_fd), visit.name, dir_fd=into.fd)
            self._tell(visit.path)
        else:
            self._copy_file(visit.name, visit.dir_fd, status, into.fd, visit.name)
            self._tell(visit.path)

    def _copy_file(self, source: str, dir_fd: int | None, status: os.stat_result, dest_fd: int, name: str) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a file, directory or link")
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_NOFOLLOW if dir_fd is not None else 0)
        source_fd = os.open(source, flags, dir_fd=dir_fd)
        try:
            target_fd = _open_target(dest_fd, name, stat.S_IMODE(status.st_mode))
            try:
                while done := os.sendfile(target_fd, source_fd, None, _COPY_BYTES):
                    self.total_bytes += done
                self._keep_attributes(target_fd, status)
            finally:
                os.close(target_fd)
        finally:
            os.close(source_fd)

    def _keep_attributes(self, fd: int, status: os.stat_result) -> None:
        """By descriptor: of its name somebody may have made a link to something else since."""
        if not self._preserve:
            return
        os.fchown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, stat.S_IMODE(status.st_mode))
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _tell(self, path: str) -> None:
        dest = self._dest + path[len(self._source) :]
        self._rows.add(schema.Moved(source=text.tell(path or "/"), dest=text.tell(dest)))


def _is_directory(root: Root, path: str) -> bool:
    try:
        with root.opened(path, os.O_PATH | os.O_DIRECTORY):
            return True
    except OSError:
        return False


def _make_like(dir_fd: int, name: str, status: os.stat_result) -> None:
    """A directory that we can fill; ENOTDIR when something else is there."""
    make_directory(dir_fd, name, stat.S_IMODE(status.st_mode) | 0o700)
    if not stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _open_target(dir_fd: int, name: str, mode: int) -> int:
    """Empty, of this mode, a regular file; a new one belongs to the owner of its directory."""
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=dir_fd)
    except FileExistsError:
        return _open_existing(dir_fd, name, mode)
    owner = os.fstat(dir_fd)
    os.fchown(fd, owner.st_uid, owner.st_gid)
    os.fchmod(fd, mode)
    return fd


def _open_existing(dir_fd: int, name: str, mode: int) -> int:
    place = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode) or filesystems.is_kernel_own(place):
            raise OSError(errno.EINVAL, "not a regular file")
        fd = os.open(_path_of(place), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    finally:
        os.close(place)
    os.fchmod(fd, mode)
    return fd


def change_mode(root: Root, path: str, mode: int, *, recursive: bool) -> int:
    """Rows: the paths whose mode was set."""

    def apply(fd: int, told: str) -> msgspec.Struct:
        os.chmod(_path_of(fd), mode)
        return schema.ModeChange(path=told, mode=f"{mode:04o}")

    return _change(root, path, recursive=recursive, apply=apply)


def change_owner(root: Root, path: str, uid: int, gid: int, *, recursive: bool) -> int:
    """Rows: the paths whose owner or group was set; -1 leaves one as it is."""

    def apply(fd: int, told: str) -> msgspec.Struct:
        os.chown(_path_of(fd), uid, gid)
        status = os.fstat(fd)
        return schema.OwnerChange(path=told, uid=status.st_uid, gid=status.st_gid)

    return _change(root, path, recursive=recursive, apply=apply)


def _change(root: Root, path: str, *, recursive: bool, apply: Callable[[int, str], msgspec.Struct]) -> int:
    """`path` (links followed); `recursive`: all below it but links, before the directory that they are in is left."""
    skipped = Skipped()
    with Rows("affected") as rows, root.opened(path, os.O_PATH) as fd:
        is_dir = stat.S_ISDIR(os.fstat(fd).st_mode)
        with _at(path):
            rows.add(apply(fd, text.tell(path)))
        if recursive and is_dir:
            with root.opened(path, _DIRECTORY) as dir_fd:
                for visit in Walk(dir_fd, path, recursive=True, on_error=skipped):
                    if visit.moment is Moment.SEEN and not stat.S_ISLNK(visit.status.st_mode):
                        _change_one(visit, rows, apply, skipped)
        if skipped.first is not None:
            raise skipped.first
        return rows.finish()


def _change_one(visit: Visit, rows: Rows, apply: Callable[[int, str], msgspec.Struct], skipped: Skipped) -> None:
    try:
        fd = os.open(visit.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=visit.dir_fd)
    except FileNotFoundError:
        return
    try:
        rows.add(apply(fd, text.tell(visit.path)))
    except OSError as error:
        skipped(visit.path, error)
    finally:
        os.close(fd)


def find_id(root: Root, table: str, wanted: int | str | None) -> int:
    """A number, or a name of the world's passwd or group; -1 leaves it as it is; EINVAL for what is neither."""
    if wanted is None:
        return -1
    number = wanted if isinstance(wanted, int) else parse_decimal(wanted)
    if number is not None:
        if not 0 <= number < 1 << 32:
            raise OSError(errno.EINVAL, f"{number} is no id")
        return number
    for line in root.read_small(table).splitlines():
        fields = line.split(":")
        found = parse_decimal(fields[2]) if fields[0] == wanted and len(fields) > 2 else None
        if found is not None:
            return found
    raise OSError(errno.EINVAL, f"there is no {wanted!r} in the world's {table}")
