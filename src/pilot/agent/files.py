"""What the fs calls do, on a `Root`. Blocking; every error is an `OSError` whose filename is the path in the world.

Work is done as root. What is made belongs to the owner of the directory it is made in, so files under /home/sprite are
sprite's and files under /root are root's.
"""

from __future__ import annotations

import datetime
import errno
import fnmatch
import os
import posixpath
import stat
from collections.abc import Callable, Iterator

from ..wire import schema
from .rootfs import Root

MAX_ENTRIES = 200_000
_COPY_BYTES = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def entry(path: str, status: os.stat_result) -> schema.Entry:
    """One row of a listing."""
    moment = datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC)
    return schema.Entry(
        name=posixpath.basename(path) or "/",
        path=path,
        type=_kind(status.st_mode),
        size=status.st_size,
        mode=f"{stat.S_IMODE(status.st_mode):o}",
        mod_time=moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        is_dir=stat.S_ISDIR(status.st_mode),
    )


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "file"


def list_entries(root: Root, path: str, *, recursive: bool, pattern: str) -> list[schema.Entry]:
    """The children of a directory, by name (all below it with `recursive`), or the one entry of anything else."""
    with root.opened(path, os.O_PATH) as fd:
        status = os.fstat(fd)
    if not stat.S_ISDIR(status.st_mode):
        return [entry(path, status)]
    found = []
    for child, child_status in _children(root, path, recursive):
        if not pattern or fnmatch.fnmatchcase(posixpath.basename(child), pattern):
            found.append(entry(child, child_status))
        if len(found) > MAX_ENTRIES:
            raise OSError(errno.E2BIG, f"more than {MAX_ENTRIES} entries", path)
    return found


def _children(root: Root, path: str, recursive: bool) -> Iterator[tuple[str, os.stat_result]]:
    with root.opened(path, _DIRECTORY) as fd:
        yield from _children_at(fd, path, recursive)


def _children_at(dir_fd: int, path: str, recursive: bool) -> Iterator[tuple[str, os.stat_result]]:
    """Entries of an open directory, then (links are not followed) of those below it."""
    for name in sorted(os.listdir(dir_fd)):
        child = posixpath.join(path, name)
        try:
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            continue  # deleted meanwhile
        yield child, status
        if recursive and stat.S_ISDIR(status.st_mode):
            try:
                below = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
            except FileNotFoundError:
                continue
            try:
                yield from _children_at(below, child, recursive)
            finally:
                os.close(below)


def open_for_reading(root: Root, path: str) -> tuple[int, int]:
    """(descriptor that the caller owns, size); only regular files: a fifo would hang, a device has no size."""
    fd = root.open_fd(path, os.O_RDONLY | os.O_NONBLOCK)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return fd, status.st_size
    os.close(fd)
    code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
    raise OSError(code, os.strerror(code), path)


def open_for_writing(root: Root, path: str, mode: int | None, *, make_parents: bool) -> int:
    """An empty regular file of this mode; the caller owns the descriptor."""
    if make_parents:
        root.make_directories(posixpath.dirname(path))
    fd = root.create_file(path, 0o644 if mode is None else mode)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if mode is not None:
            os.fchmod(fd, mode & 0o7777)
    except BaseException:
        os.close(fd)
        raise
    return fd


def delete(root: Root, path: str, *, recursive: bool) -> None:
    """A file, a link, an empty directory, or with `recursive` a tree (links in it are not followed)."""
    import shutil  # slow: it takes in every compressor

    with root.parent(path) as (dir_fd, name):
        if not stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=dir_fd)
        elif recursive:
            shutil.rmtree(name, dir_fd=dir_fd)
        else:
            os.rmdir(name, dir_fd=dir_fd)


def rename(root: Root, source: str, dest: str) -> None:
    """rename(2): replaces a file, or an empty directory by a directory."""
    with root.parent(source) as (source_fd, source_name), root.parent(dest) as (dest_fd, dest_name):
        os.rename(source_name, dest_name, src_dir_fd=source_fd, dst_dir_fd=dest_fd)


def copy(root: Root, source: str, dest: str, *, recursive: bool, preserve: bool) -> tuple[list[schema.Moved], int]:
    """What was copied, and how many bytes of content. An existing directory `dest` is copied into, as cp does."""
    with root.opened(source, os.O_PATH) as fd:
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
    if is_directory and not recursive:
        raise OSError(errno.EISDIR, "is a directory, and recursive is not set", source)
    if _is_directory(root, dest):
        dest = posixpath.join(dest, posixpath.basename(source))
    if is_directory and (dest + "/").startswith(source.rstrip("/") + "/"):
        raise OSError(errno.EINVAL, "cannot copy a directory into itself", dest)
    pairs = [(source, dest)]
    if is_directory:
        pairs += [(child, dest + child[len(source.rstrip("/")) :]) for child, _ in list(_children(root, source, True))]
    total = sum(_copy_one(root, one, other, preserve, top=one == source) for one, other in pairs)
    return [schema.Moved(source=one, dest=other) for one, other in pairs], total


def _is_directory(root: Root, path: str) -> bool:
    try:
        with root.opened(path, os.O_PATH | os.O_DIRECTORY):
            return True
    except OSError:
        return False


def _copy_one(root: Root, source: str, dest: str, preserve: bool, *, top: bool) -> int:
    """One entry; links below the top are copied as links. Bytes of content."""
    with root.opened(source, os.O_PATH | (0 if top else os.O_NOFOLLOW)) as fd:
        status = os.fstat(fd)
        if stat.S_ISLNK(status.st_mode):
            with root.parent(dest) as (dir_fd, name):
                os.symlink(os.readlink("", dir_fd=fd), name, dir_fd=dir_fd)
            return 0
    if stat.S_ISDIR(status.st_mode):
        root.make_directories(dest, stat.S_IMODE(status.st_mode) | 0o700)
        copied = 0
    elif stat.S_ISREG(status.st_mode):
        copied = _copy_content(root, source, dest, stat.S_IMODE(status.st_mode))
    else:
        raise OSError(errno.EINVAL, "not a file, directory or link", source)
    if preserve:
        with root.opened(dest, os.O_PATH) as fd:
            os.chown(f"/proc/self/fd/{fd}", status.st_uid, status.st_gid)
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(status.st_mode))
            os.utime(f"/proc/self/fd/{fd}", ns=(status.st_atime_ns, status.st_mtime_ns))
    return copied


def _copy_content(root: Root, source: str, dest: str, mode: int) -> int:
    root.make_directories(posixpath.dirname(dest))
    with root.opened(source, os.O_RDONLY | os.O_NONBLOCK) as source_fd:
        dest_fd = open_for_writing(root, dest, mode, make_parents=False)
        try:
            copied = 0
            while done := os.sendfile(dest_fd, source_fd, None, _COPY_BYTES):
                copied += done
            return copied
        finally:
            os.close(dest_fd)


def change(root: Root, path: str, *, recursive: bool, apply: Callable[[str, os.stat_result], None]) -> list[str]:
    """Call `apply(/proc/self/fd path, status)` for `path` (links followed); `recursive`: for all below but links."""
    with root.opened(path, os.O_PATH) as fd:
        status = os.fstat(fd)
        apply(f"/proc/self/fd/{fd}", status)
    changed = [path]
    if recursive and stat.S_ISDIR(status.st_mode):
        for child, child_status in list(_children(root, path, True)):
            if stat.S_ISLNK(child_status.st_mode):
                continue
            with root.opened(child, os.O_PATH | os.O_NOFOLLOW) as fd:
                apply(f"/proc/self/fd/{fd}", os.fstat(fd))
            changed.append(child)
    return changed
