"""What the kernel holds, before and after: mounts, loops, cgroups, processes, namespaces, FUSE connections, links.

Valid under tests.support.private, where whatever exists was made by the tests. A difference is a leak.
"""

from __future__ import annotations

import glob
import os
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


def observe() -> Holdings:
    """Ask the kernel now. Loop devices are those of the whole machine that are backed by a FUSE disk of ours."""
    return Holdings(
        mounts=_mounts(),
        loops=_loops(),
        cgroups=frozenset(d for root in glob.glob("/sys/fs/cgroup/*") for d, _, _ in os.walk(root)),
        processes=_processes(),
        namespaces=_namespaces(),
        fuse_connections=frozenset(glob.glob("/sys/fs/fuse/connections/*")),
        links=frozenset(os.listdir("/sys/class/net")),
    )


def _mounts() -> frozenset[str]:
    with open("/proc/self/mountinfo") as rows:
        return frozenset(" ".join(row.split()[3:5]) for row in rows)


def _loops() -> frozenset[str]:
    found = set()
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            with open(path) as backing:
                name = backing.read().strip()
        except OSError:  # detached between the listing and the reading
            continue
        if name.endswith("/disk"):
            found.add(f"{path.split('/')[3]} {name}")
    return frozenset(found)


def _processes() -> frozenset[str]:
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as cmdline, open(f"/proc/{pid}/stat") as stat:
                words = cmdline.read().replace(b"\0", b" ").decode(errors="replace").strip()
                started = stat.read().rpartition(")")[2].split()[19]
        except OSError:  # gone between the listing and the reading
            continue
        found.add(f"{pid}@{started} {words}")
    return frozenset(found)


def _namespaces() -> frozenset[str]:
    found = set()
    for link in glob.glob("/proc/[0-9]*/ns/*"):
        try:
            found.add(os.readlink(link))
        except OSError:  # gone between the listing and the reading
            continue
    return frozenset(found)
