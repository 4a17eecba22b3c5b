"""What a sprite's disk has more than the base, as a layer (image-spec, layer.md), made by a process of its own.

    python -m pilot.host.shipping.layer BASE_FD STATE_FD LAYER_FD MOST_BYTES <RULES

Both directories are of volumes (rootfs/, pilot/) that nobody writes to. The layer is written to LAYER_FD, its report
(`Report`, JSON) to stdout. The layer is

    a whiteout, DIRECTORY/.wh.NAME, for each path that has gone: one for a whole tree
    what was added or changed, as GNU tar writes it: sparse, with hard links, extended attributes, owners by number;
    and each directory above any of these, or a reader that knows a layer by its directory would make up their owners

What has changed is told by metadata (`host.difference`); the base may be another one than the disk was forked of: then
the layer is larger, and right. No times of reading and no names of processes are in it: the same states make the same
bytes. A disk that fills up, a layer that has more than MOST_BYTES, and more paths than there is memory for
(`difference.MOST_MEMORY_BYTES`) are errors that end it.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator

import msgspec

from .. import difference
from . import about, rules
from .about import About
from .rules import Matcher

WHITEOUT = ".wh."
MOST_TOLD = 200
# Names as they are; nothing that differs from one run to the next.
_TAR = (
    "tar", "--create", "--null", "--verbatim-files-from", "--no-unquote", "--no-recursion", "--files-from=-",
    "--format=pax", "--pax-option=delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f", "--numeric-owner",
    "--sparse", "--xattrs", "--xattrs-include=*", "--acls", "--file=-",
)  # fmt: skip


class LeftOut(msgspec.Struct, frozen=True):
    """`kind`: of the rule, or `unfit` for what no layer can have."""

    kind: str
    path: str


class Report(msgspec.Struct, frozen=True):
    """`left_out`: the first of them."""

    entries: int
    whiteouts: int
    left_out_count: int
    left_out: tuple[LeftOut, ...]
    about: About = About()


class Contents(msgspec.Struct):
    """Paths are relative to the root, `./…`, each before what is below it."""

    present: list[str] = []
    gone: list[str] = []
    left_out: list[LeftOut] = []


def contents(base_fd: int, state_fd: int, matcher: Matcher) -> Contents:
    """Of two root directories."""
    found = Contents([], [], [])
    left = ["."]
    while left:
        path = left.pop()
        below = list(_compare(path, base_fd, state_fd, matcher, found))
        left += reversed(below)
    return found


def _compare(path: str, base_fd: int, state_fd: int, matcher: Matcher, found: Contents) -> Iterator[str]:
    """One directory; yields those in it that are to be looked into."""
    before, after = difference.entries(base_fd, path), difference.entries(state_fd, path)
    for name in sorted(before.keys() | after.keys()):
        place, was, now = f"{path}/{name}", before.get(name), after.get(name)
        changed = not difference.same(was, now)
        is_directory = now is not None and stat.S_ISDIR(now.st_mode)
        if kind := matcher.kind(place[1:]) or _unfit(name, now):
            if now is not None and (was is None or was.st_ctime_ns != now.st_ctime_ns):
                found.left_out.append(LeftOut(kind, place[1:]))
            continue
        if now is None:
            found.gone.append(place)
            continue
        if changed:
            found.present.append(place)
        if is_directory:
            yield place


def _unfit(name: str, now: os.stat_result | None) -> str | None:
    """A socket is of who has made it; a name that would be read as a whiteout cannot be said."""
    is_socket = now is not None and stat.S_ISSOCK(now.st_mode)
    return "unfit" if is_socket or name.startswith(WHITEOUT) else None


def members(found: Contents) -> list[str]:
    """What is read from the disk, each directory before what is in it."""
    wanted = {*found.present}
    for path in (*found.present, *found.gone):
        while (path := os.path.dirname(path)) and path not in wanted:
            wanted.add(path)
    return sorted(wanted, key=lambda path: path.replace("/", "\0"))


def write(found: Contents, root_fd: int, layer_fd: int) -> None:
    """`OSError` when it cannot be read, or written."""
    with os.fdopen(os.dup(layer_fd), "wb") as out:
        for path in found.gone:
            out.write(_whiteout(path))
    names = b"".join(os.fsencode(path) + b"\0" for path in members(found))
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(
        [*_TAR[:1], f"--directory=/proc/self/fd/{root_fd}", *_TAR[1:]], input=names, stdout=layer_fd,
        stderr=subprocess.PIPE, pass_fds=(root_fd,), env=environment, check=False,
    )  # fmt: skip
    if done.returncode == -signal.SIGXFSZ:
        raise OSError(errno.EFBIG, "the layer is larger than there is room for", "layer")
    if done.returncode:
        raise OSError(
            errno.EIO, done.stderr.decode(errors="replace").strip()[-300:] or f"status {done.returncode}", "tar"
        )


def _whiteout(path: str) -> bytes:
    directory, name = os.path.split(path)
    member = tarfile.TarInfo(f"{directory}/{WHITEOUT}{name}")
    member.mode = 0o600
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def make(base_fd: int, state_fd: int, layer_fd: int, matcher: Matcher) -> Report:
    """Of two volumes."""
    roots = [os.open("rootfs", about.DIRECTORY, dir_fd=fd) for fd in (base_fd, state_fd)]
    try:
        found = contents(roots[0], roots[1], matcher)
        write(found, roots[1], layer_fd)
    finally:
        for fd in roots:
            os.close(fd)
    told = tuple(LeftOut(each.kind, os.fsencode(each.path).decode(errors="replace")) for each in found.left_out)
    return Report(len(found.present), len(found.gone), len(told), told[:MOST_TOLD], about.read(state_fd))


def _tell(base_fd: int, state_fd: int, layer_fd: int) -> None:
    report = make(base_fd, state_fd, layer_fd, Matcher(rules.parse(sys.stdin.buffer.read())))
    sys.stdout.buffer.write(msgspec.json.encode(report))


def main() -> int:
    base_fd, state_fd, layer_fd, most_bytes = map(int, sys.argv[1:])
    return difference.within_bounds(most_bytes, lambda: _tell(base_fd, state_fd, layer_fd))


if __name__ == "__main__":
    sys.exit(main())
