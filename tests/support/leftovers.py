"""What the kernel holds, before and after: mounts, loops, cgroups, processes, namespaces, FUSE connections, links.

Valid under tests.support.private, where whatever exists was made by the tests. A difference is a leak.

FUSE connections and loop devices have no namespace: those of neighbours are seen too. Ours are the connections that a
process of our pid namespace serves (fdinfo, Linux 6.17), or has served when somebody looked (`note`, which a test calls
while its disks are attached), and the loop devices on them.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Holdings:
    """Sets of names; two of them subtract to what is new."""

    mounts: frozenset[str]
    loops: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]
    namespaces: frozenset[str]
    fuse_connections: frozenset[str]
    links: frozenset[str]

    def new_since(self, before: Holdings) -> dict[str, list[str]]:
        """What is in self and was not in `before`, by kind; kinds with nothing new are left out."""
        found = {f.name: sorted(getattr(self, f.name) - getattr(before, f.name)) for f in fields(self)}
        return {kind: names for kind, names in found.items() if names}


_KINDS = frozenset(field.name for field in fields(Holdings))


def observe() -> Holdings:
    """Ask the kernel now."""
    note()
    return Holdings(
        mounts=_mounts(),
        loops=_loops(),
        cgroups=frozenset(d for root in glob.glob("/sys/fs/cgroup/*") for d, _, _ in os.walk(root)),
        processes=_processes(),
        namespaces=_namespaces(),
        fuse_connections=frozenset(n for n in os.listdir(_FUSECTL) if _is_ours(n)),
        links=frozenset(os.listdir("/sys/class/net")),
    )


def containers(root: str = "/run/pilot") -> list[str]:
    """What is in the state root of a runtime: of containers nothing is to stay, and nothing else belongs there."""
    try:
        return sorted(os.listdir(root))
    except FileNotFoundError:
        return []


def left_since(before: Holdings, timeout_s: float = 60.0, *, kinds: frozenset[str] = _KINDS) -> dict[str, list[str]]:
    """What is new and stays: the last of a killed process or of a loop device goes a moment after its end.

    Only `kinds` are waited for; what there is of others is told as it is then.
    """
    deadline = time.monotonic() + timeout_s
    while (left := observe().new_since(before)).keys() & kinds and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    """What the block has begun is gone a moment after its end."""
    before = observe()
    yield
    assert left_since(before) == {}


def _mounts() -> frozenset[str]:
    with open("/proc/self/mountinfo") as rows:
        return frozenset(" ".join(row.split()[3:5]) for row in rows)


def note() -> None:
    """Remember the FUSE connections that are ours, as long as somebody serves them."""
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(path) == "/dev/fuse":
                _ours.update(_identity(number) for number in _connections(path.replace("/fd/", "/fdinfo/")))
        except OSError:  # gone between the listing and the reading
            continue


# Numbers are used again by whoever comes next; the inode of a connection's directory is not.
_FUSECTL = "/sys/fs/fuse/connections"
_ours: set[tuple[str, int]] = set()


def _identity(number: str) -> tuple[str, int]:
    return number, os.stat(f"{_FUSECTL}/{number}").st_ino


def _is_ours(number: str) -> bool:
    try:
        return _identity(number) in _ours
    except OSError:  # gone between the listing and the reading
        return False


def _connections(path: str) -> list[str]:
    with open(path) as rows:
        return [row.split()[1] for row in rows if row.startswith("fuse_connection:")]


_LOOP_GET_STATUS64 = 0x4C05


def _loops() -> frozenset[str]:
    found = set()
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        name = path.split("/")[3]
        try:
            if _is_ours(str(os.minor(_backing_device(name)))):
                found.add(name)
        except OSError:  # detached between the listing and the reading
            continue
    return frozenset(found)


def _backing_device(name: str) -> int:
    """The device number of the filesystem that the loop's file is on: of a FUSE connection, its number."""
    loop_fd = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = fcntl.ioctl(loop_fd, _LOOP_GET_STATUS64, bytes(232))
        return int(struct.unpack_from("Q", status)[0])
    finally:
        os.close(loop_fd)


def _processes() -> frozenset[str]:
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as cmdline, open(f"/proc/{pid}/stat") as stat:
                words = cmdline.read().replace(b"\0", b" ").decode(errors="replace").strip()
                name, _, numbers = stat.read().partition(" ")[2].rpartition(")")
                state, parent, started = (numbers.split()[i] for i in (0, 1, 19))
        except OSError:  # gone between the listing and the reading
            continue
        # Only what stays the same names a process; one without words is ending, and its parent has to wait for it.
        found.add(f"{pid}@{started} {words or f'{name}) {state} of {parent}'}")
    return frozenset(found)


def _namespaces() -> frozenset[str]:
    found = set()
    for link in glob.glob("/proc/[0-9]*/ns/*"):
        try:
            found.add(os.readlink(link))
        except OSError:  # gone between the listing and the reading
            continue
    return frozenset(found)
