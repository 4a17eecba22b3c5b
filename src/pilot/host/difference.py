"""What lies between two states of a disk, as a process of its own.

    python -m pilot.host.difference BEFORE_FD AFTER_FD MOST_BYTES

Both descriptors are of directories that nobody writes to. Nothing but metadata is read, so it takes as long as there
are entries, however large they are. One line of JSON for each difference, the last one counts them:

    {"change": "added" | "changed" | "deleted", "path", "kind", "size", "size_before"}
    {"type": "complete", "added", "changed", "deleted"}

Two states of one disk have the same inode where nothing was done to a file: its number and time of change tell, which
no program can set back. Of a directory only what is its own counts: owner, mode. A directory that cannot be looked at
is an error that ends it: half a difference is none. So are more paths than `MOST_MEMORY_BYTES` can hold: links cost
whoever makes them next to nothing.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
import sys
from collections.abc import Callable, Iterator
from typing import IO

from ..kernel import inroot

_NO_DIRECTORY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})  # ELOOP: it, or one above it, is a link
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
MOST_MEMORY_BYTES = 1 << 30
TOO_MANY = f"more paths than {MOST_MEMORY_BYTES >> 20} MiB of memory can hold"
Line = dict[str, object]


def differences(before_fd: int, after_fd: int) -> Iterator[Line]:
    """Directory by directory, each before what is in it."""
    left = ["."]
    while left:
        path = left.pop()
        before, after = entries(before_fd, path), entries(after_fd, path)
        below = []
        for name in sorted(before.keys() | after.keys()):
            was, found = before.get(name), after.get(name)
            place = f"{path}/{name}"
            if not same(was, found):
                yield _line(place, was, found)
            if any(each is not None and stat.S_ISDIR(each.st_mode) for each in (was, found)):
                below.append(place)
        left += reversed(below)


def entries(root_fd: int, path: str) -> dict[str, os.stat_result]:
    """Of the directory at `path`; nothing where there is no such directory on this side. The disk is a stranger's: its
    links lead anywhere, out of it too, and none is followed."""
    try:
        fd = inroot.open_directory_as_named(root_fd, path)
    except OSError as error:
        if error.errno in _NO_DIRECTORY:
            return {}
        raise
    try:
        with os.scandir(fd) as found:
            return {entry.name: entry.stat(follow_symlinks=False) for entry in found}
    finally:
        os.close(fd)


def same(before: os.stat_result | None, after: os.stat_result | None) -> bool:
    """Whether nothing was done to it; of a directory, to what is its own."""
    if before is None or after is None:
        return False
    own = (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)
    if stat.S_ISDIR(before.st_mode) and stat.S_ISDIR(after.st_mode):
        return own
    return own and (before.st_ino, before.st_ctime_ns, before.st_size) == (
        after.st_ino,
        after.st_ctime_ns,
        after.st_size,
    )


def _line(place: str, before: os.stat_result | None, after: os.stat_result | None) -> Line:
    shown = after or before
    assert shown is not None
    return {
        "change": "added" if before is None else "deleted" if after is None else "changed",
        "path": place[1:],
        "kind": _KINDS.get(stat.S_IFMT(shown.st_mode), "other"),
        "size": None if after is None else after.st_size,
        "size_before": None if before is None else before.st_size,
    }


def write(before_fd: int, after_fd: int, out: IO[str]) -> None:
    counts = {"added": 0, "changed": 0, "deleted": 0}
    for line in differences(before_fd, after_fd):
        counts[str(line["change"])] += 1
        out.write(json.dumps(line) + "\n")  # ASCII: a name that is no text has its bytes as \\udcXX
    out.write(json.dumps({"type": "complete", **counts}) + "\n")


def within_bounds(most_bytes: int, work: Callable[[], None]) -> int:
    """The exit status of a process that does that and no more: with so much memory, files no longer than `most_bytes`,
    and an error told in a line."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    try:
        work()
        sys.stdout.flush()
    except OSError as error:
        print(f"{error.filename or '.'}: {(error.strerror or str(error)).lower()}", file=sys.stderr)
        return 1
    except MemoryError:
        print(TOO_MANY, file=sys.stderr)
        return 1
    return 0


def main() -> int:
    before_fd, after_fd, most_bytes = map(int, sys.argv[1:])
    return within_bounds(most_bytes, lambda: write(before_fd, after_fd, sys.stdout))


if __name__ == "__main__":
    sys.exit(main())
