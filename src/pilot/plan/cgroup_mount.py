"""A mount of type cgroup: what a container sees below /sys/fs/cgroup.

v2, cgroup2    its own cgroup: a new cgroup2 mount in its cgroup namespace, else a bind of its directory
v1, hybrid     a tmpfs with one mount per hierarchy, and links for controllers that share one (cpu → cpu,cpuacct)

The option `x-pilot.without=memory` leaves out the v1 hierarchy of that controller: whoever runs containers inside then
does without it, as on a kernel that has none.
"""

from __future__ import annotations

import posixpath

from ..spec.linux import NamespaceType
from ..spec.mount_options import Flag, Options
from . import attributes
from .abi import MountAttribute, Propagation
from .code import Slot
from .facts import CgroupLayout, CgroupMount
from .plan import ROOT, OpenMount
from .program import Step
from .setup import Setup
from .steps import AttachMount, MakeSymlink, MountFilesystem, NewFilesystem, SetMountAttributes

WITHOUT = "x-pilot.without="

_Parts = tuple[tuple[OpenMount, ...], tuple[Step, ...], tuple[Step, ...]]


# As runc: whatever is asked, nothing is executed there.
_ALWAYS = MountAttribute.NOSUID | MountAttribute.NODEV | MountAttribute.NOEXEC


def plan_cgroup_mount(slot: Slot, path: str, options: Options, setup: Setup, fstype: str) -> _Parts:
    """Openings, steps, and steps at the end. Of type cgroup2 the v2 hierarchy alone is mounted, where there is one."""
    inside = path.lstrip("/")
    set_, _ = attributes.plan_attributes(options)
    v2 = next((mount for mount, _ in _hierarchies(setup) if mount.version == 2), None)
    if v2 is not None and (setup.facts.cgroup_layout is CgroupLayout.V2 or fstype == "cgroup2"):
        mount = v2
        openings, steps = _plan_hierarchy(slot, inside, mount, set_, setup)
        return openings, steps, ()
    made: list[Step] = [
        NewFilesystem(slot, "tmpfs", "tmpfs", (("mode", "755"),), (set_ & ~MountAttribute.RDONLY) | _ALWAYS),
        AttachMount(slot, ROOT, inside),
    ]
    opened: tuple[OpenMount, ...] = ()
    for mount in _shown(options, setup):
        more, steps = _plan_hierarchy(
            Slot(f"{slot}-{mount.name}"), posixpath.join(inside, mount.name), mount, set_, setup
        )
        opened += more
        made += [*steps, *_links(inside, mount)]
    late: list[Step] = [SetMountAttributes(slot, MountAttribute.RDONLY)] if Flag.RDONLY in options.set_flags else []
    return opened, tuple(made), tuple(late)


def _hierarchies(setup: Setup) -> tuple[tuple[CgroupMount, str], ...]:
    return setup.cgroup_paths


def _shown(options: Options, setup: Setup) -> list[CgroupMount]:
    hidden = {datum.removeprefix(WITHOUT) for datum in options.data if datum.startswith(WITHOUT)}
    return [mount for mount, _ in _hierarchies(setup) if hidden.isdisjoint(mount.controllers)]


def _plan_hierarchy(
    slot: Slot, inside: str, mount: CgroupMount, set_: MountAttribute, setup: Setup
) -> tuple[tuple[OpenMount, ...], tuple[Step, ...]]:
    if setup.has(NamespaceType.CGROUP):
        fstype = "cgroup2" if mount.version == 2 else "cgroup"
        return (), (MountFilesystem(fstype, ROOT, inside, "cgroup", _parameters(mount), set_),)
    directory = dict(_hierarchies(setup))[mount]
    steps: list[Step] = [SetMountAttributes(slot, propagation=Propagation.SLAVE)]
    if set_:
        steps.append(SetMountAttributes(slot, set_, _atime(set_)))
    return (OpenMount(slot, directory, recursive=False),), (*steps, AttachMount(slot, ROOT, inside))


def _atime(set_: MountAttribute) -> MountAttribute:
    return MountAttribute.ATIME if set_ & MountAttribute.ATIME else MountAttribute.NONE


def _parameters(mount: CgroupMount) -> tuple[tuple[str, str | None], ...]:
    """fsconfig parameters that pick a hierarchy."""
    if mount.version == 2:
        return ()
    named = [controller for controller in mount.controllers if controller.startswith("name=")]
    if named:
        return (("none", None), ("name", named[0].removeprefix("name=")))
    return tuple((controller, None) for controller in mount.controllers)


def _links(inside: str, mount: CgroupMount) -> list[Step]:
    if mount.version == 2 or len(mount.controllers) < 2:
        return []
    return [MakeSymlink(ROOT, posixpath.join(inside, controller), mount.name) for controller in mount.controllers]
