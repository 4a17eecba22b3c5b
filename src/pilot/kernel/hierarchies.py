"""Which cgroup hierarchies are mounted, what they control, and where a cgroup lies in each.

Layouts, as mount points below /sys/fs/cgroup and as keys of a *paths* value (controller → directory):

    v1       memory/ cpu,cpuacct/ systemd/ …      "memory" "cpu" "cpuacct" "name=systemd"
    v2       (the directory itself)               ""
    hybrid   as v1, and unified/                  as v1, and ""

Everything is read from /proc/self, so it is right in a cgroup namespace and where only a part of a tree is mounted.
"""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Iterable

import msgspec

from ..plan import facts
from ..plan.facts import CgroupLayout, CgroupMount
from . import mounts

# What mount options of a v1 hierarchy are besides its controllers.
_NOT_CONTROLLERS = frozenset({"rw", "ro", "xattr", "clone_children", "noprefix", "favordynmods", "cpuset_v2_mode"})


class Hierarchies(msgspec.Struct, frozen=True):
    """All mounted hierarchies. `unified_controllers` are those of the cgroup v2 tree."""

    mounts: tuple[CgroupMount, ...]
    unified_controllers: frozenset[str] = frozenset()

    @property
    def layout(self) -> CgroupLayout:
        """Which hierarchies carry the controllers."""
        versions = {mount.version for mount in self.mounts}
        return _LAYOUTS[1 in versions, 2 in versions]

    @property
    def controllers(self) -> frozenset[str]:
        """All controllers that can be used, of either version."""
        named = {c for mount in self.mounts for c in mount.controllers if not c.startswith("name=")}
        return frozenset(named) | self.unified_controllers

    def paths(self, path: str, *, relative: bool = False) -> dict[str, str]:
        """Directory per controller of the cgroup `path`; see `plan.cgroup.Placement` for what relative means.

        No path leads out of a hierarchy: `..` at its root stays there.
        """
        clean = posixpath.normpath("/" + path).lstrip("/")
        return {
            controller: posixpath.normpath(posixpath.join(mount.mount_point, _base(mount) if relative else "", clean))
            for mount in self.mounts
            for controller in mount.controllers or ("",)
        }

    def paths_of(self, pid: int) -> dict[str, str]:
        """Directory per controller of the cgroup that process `pid` is in now."""
        groups = parse_groups(_read(f"/proc/{pid}/cgroup"))
        return {
            controller: mount.mount_point.rstrip("/") + below(mount.root, groups.get(controller, "/")).rstrip("/")
            for mount in self.mounts
            for controller in mount.controllers or ("",)
        }


_LAYOUTS = {
    (False, False): CgroupLayout.NONE,
    (True, False): CgroupLayout.V1,
    (False, True): CgroupLayout.V2,
    (True, True): CgroupLayout.HYBRID,
}


def probe_hierarchies(pid: int | None = None) -> Hierarchies:
    """The hierarchies that this process can see, and where in them it is (or process `pid` of the same namespaces)."""
    found = _parse(_read("/proc/self/mountinfo"), _read(f"/proc/{pid or 'self'}/cgroup"))
    available: set[str] = set()
    for mount in found:
        if mount.version == 2:
            available.update(_read(posixpath.join(mount.mount_point, "cgroup.controllers")).split())
    return Hierarchies(tuple(found), frozenset(available))


@functools.lru_cache(maxsize=4)
def _parse(mountinfo: str, own_groups: str) -> tuple[CgroupMount, ...]:
    """A process that stays asks often, and mounts change seldom."""
    return tuple(parse_hierarchies(mounts.parse_mountinfo(mountinfo), own_groups))


def parse_hierarchies(entries: Iterable[mounts.MountEntry], own_groups: str) -> list[CgroupMount]:
    """mountinfo and /proc/self/cgroup → one mount per hierarchy, the one nearest to its root."""
    groups = parse_groups(own_groups)
    found: dict[tuple[str, ...], CgroupMount] = {}
    for entry in sorted(entries, key=_preference):
        if entry.fstype not in {"cgroup", "cgroup2"}:
            continue
        version = 2 if entry.fstype == "cgroup2" else 1
        controllers = () if version == 2 else tuple(filter(_is_controller, entry.super_options))
        own = below(entry.root, groups.get(controllers[0] if controllers else "", "/"))
        found.setdefault(controllers, facts.CgroupMount(entry.mount_point, controllers, version, own, entry.root))
    return list(found.values())


def _is_controller(option: str) -> bool:
    return option not in _NOT_CONTROLLERS and not option.startswith("release_agent=")


def _preference(entry: mounts.MountEntry) -> tuple[bool, int]:
    """Mounts elsewhere are those of containers' root filesystems; of two at one place the first was covered."""
    return not entry.mount_point.startswith("/sys/fs/cgroup"), len(entry.root)


def parse_groups(text: str) -> dict[str, str]:
    """/proc/PID/cgroup → cgroup per controller; "" is the v2 tree."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def below(root: str, group: str) -> str:
    """`group` as seen below a mount of `root`; "/" when it lies outside (`/..` is how the kernel says so)."""
    base = root.rstrip("/")
    inside = group == root or (group.startswith(base + "/") and not group.startswith("/.."))
    return posixpath.normpath("/" + group[len(base) :].lstrip("/")) if inside else "/"


def _base(mount: CgroupMount) -> str:
    """Where relative paths start: in our own cgroup, in v2 beside it."""
    own = mount.own_group.lstrip("/")
    return posixpath.dirname(own) if mount.version == 2 else own


def _read(path: str | os.PathLike[str]) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
