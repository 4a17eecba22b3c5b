"""`mounts` of config.json → openings and steps, one function per kind of mount.

A bind mount is copied by the process, or by the runtime before the clone (`OpenMount`) where the process might not
reach the source, and attached inside; a new filesystem is made inside, so that it belongs to the container's
namespaces. All targets are found beneath the new root. A mount that is to be read-only and may be written to by later
mounts (their mount points) is made read-only at the end.

The option `x-pilot.locked` of a bind has the process copy it in any case. What is read-only where the runtime is then
stays so for the container's root: in a mount namespace of another user namespace such flags are locked
(mount_namespaces(7)), and of a copy that the runtime made they are not.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

import msgspec

from .. import errors
from ..spec import mount_options
from ..spec.config import Mount, Spec
from ..spec.linux import Linux, NamespaceType
from ..spec.mount_options import Attribute, Flag, Options
from . import abi, attributes, cgroup_mount
from .abi import MountAttribute, Namespace, Propagation, Resolve
from .code import Slot
from .plan import ROOT, IdMap, IdMaps, OpenMount, UserNamespace, clean
from .program import About, Step
from .setup import Setup
from .steps import AttachMount, CopyUp, MakeDirectories, NewFilesystem, Open, OpenTree, SetMountAttributes, TakeMount

# What may be mounted below /proc; anything else could fool the runtime or the container about itself. What lies below
# /proc/net is each process's own: only the first would see it.
_ALLOWED_IN_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
    )
)  # fmt: skip
# SELinux labels the files of these by rules of its own.
_UNLABELLED = frozenset({"proc", "sysfs", "mqueue", "cgroup", "cgroup2"})
# What the kernel tells of itself, and where it is looked for.
_KERNEL = frozenset({"proc", "sysfs"})
_KERNEL_PATHS = frozenset({"/proc", "/sys"})
# Where a path means another thing to each process.
_OF_THE_PROCESS = ("/proc/", "/dev/fd/", "/dev/std")
# New mounts of these are made read-only after everything that is mounted in them.
_READONLY_LATE = frozenset({"tmpfs"})


class MountPlan(msgspec.Struct, frozen=True):
    """Of one mount: what is opened before, what is done in order, and what at the end."""

    openings: tuple[OpenMount, ...] = ()
    steps: tuple[Step, ...] = ()
    late: tuple[Step, ...] = ()


def plan_mount(index: int, mount: Mount, setup: Setup) -> MountPlan:
    """`mounts[index]`. SpecError for what must not be mounted. Whichever step fails, the error names the entry."""
    plan = _plan_mount(index, mount, setup)
    what = f'error mounting "{mount.source or mount.type}" to rootfs at "{mount.destination}"'  # runc's words
    subject = f"$.mounts[{index}]: {what}"
    return msgspec.structs.replace(
        plan,
        openings=tuple(msgspec.structs.replace(opening, subject=subject) for opening in plan.openings),
        steps=tuple(_about(subject, step) for step in plan.steps),
        late=tuple(_about(subject, step) for step in plan.late),
    )


def _about(subject: str, step: Step) -> About:
    """What is about something of its own already, is so within `subject`."""
    return About(f"{subject}: {step.subject}", step.step) if isinstance(step, About) else About(subject, step)


def _plan_mount(index: int, mount: Mount, setup: Setup) -> MountPlan:
    path = clean(mount.destination)
    _check_proc(index, path, mount)
    options = mount_options.parse_options(mount.options)
    slot = mount_slot(index)
    if Flag.REMOUNT in options.set_flags:
        return _plan_remount(slot, path, options)
    if options.is_bind or mount.type == "bind":
        return _plan_bind(index, path, mount, options, setup)
    if mount.type == "cgroup" or (mount.type == "cgroup2" and not setup.has(NamespaceType.CGROUP)):
        return MountPlan(*cgroup_mount.plan_cgroup_mount(slot, path, options, setup, mount.type))
    if mount.type == "sysfs" and setup.has(NamespaceType.USER) and not setup.owns(NamespaceType.NETWORK):
        # Only who owns the network namespace may make a sysfs: the present one is as good.
        return _plan_bind(index, path, msgspec.structs.replace(mount, source="/sys"), _recursive(options), setup)
    return _plan_filesystem(slot, path, mount, options, setup)


def mount_slot(index: int) -> Slot:
    """The slot of `mounts[index]`, from when it is made until nobody needs it."""
    return Slot(f"mount{index}")


def makes_mount_at(mount: Mount, path: str) -> bool:
    """Whether there is another mount at `path` after this one."""
    options = mount_options.parse_options(mount.options)
    return clean(mount.destination) == path and Flag.REMOUNT not in options.set_flags


def is_own_tmpfs(mount: Mount) -> bool:
    """Whether it is a new tmpfs, and so nobody else's."""
    return mount.type == "tmpfs" and not mount_options.parse_options(mount.options).is_bind


def _plan_bind(index: int, path: str, mount: Mount, options: Options, setup: Setup) -> MountPlan:
    slot, source = mount_slot(index), posixpath.join(setup.bundle, mount.source)
    if path == "/sys" and (Flag.RDONLY | Flag.REC) in options.set_flags:
        options = _readonly_throughout(options)
    idmap = _idmap(mount, options, setup)
    without = attributes.plan_locked(options) if setup.is_confined_user else MountAttribute.NONE
    opening = OpenMount(slot, source, Flag.REC in options.set_flags, idmap, options.idmap_recursive, without)
    steps = [*inherited_propagation(slot, setup), *_bind_attribute_steps(slot, options, setup)]
    steps += _propagation_steps(slot, options)
    steps += _attach_steps(slot, path, mount.type)
    inside = _covered_source(index, source, setup)
    if opening.idmap:
        return MountPlan((opening,), tuple(steps))
    if inside is not None:
        return MountPlan((), (OpenTree(slot, ROOT, inside, opening.recursive), *steps))
    if options.locked or _is_same_inside(source, setup):
        return MountPlan((), (OpenTree(slot, None, source, opening.recursive), *steps))
    return MountPlan((opening,), tuple(steps))


def _is_same_inside(source: str, setup: Setup) -> bool:
    """Whether the process finds, and may reach, what its parent does.

    It copies then, so that mountinfo, which since Linux 6.8 is in the order in which mounts were made, has them in the
    order of the list.
    """
    own = Namespace.MOUNT in setup.entry.new and not setup.is_confined_user
    # Inside nothing is the peer of what is outside any more.
    own = own and root_propagation(setup.spec) is not Propagation.SHARED
    return own and not posixpath.normpath(source).startswith(_OF_THE_PROCESS)


def _covered_source(index: int, source: str, setup: Setup) -> str | None:
    """Where in the root a source is that an earlier mount of the list covers: it is there only when that one is."""
    inside = posixpath.relpath(source, setup.rootfs)
    if inside.startswith(".."):
        return None
    place = clean(inside)
    above = (setup.first_mounts.get(path, index) for path in _upwards(place))
    return _inside(place) if any(first < index for first in above) else None


def _upwards(path: str) -> Iterator[str]:
    """A clean path, and each directory that it lies in."""
    while path != "/":
        yield path
        path = posixpath.dirname(path)
    yield path


def _plan_filesystem(slot: Slot, path: str, mount: Mount, options: Options, setup: Setup) -> MountPlan:
    fstype = mount.type or "none"
    set_, _ = attributes.plan_attributes(options)
    is_late = MountAttribute.RDONLY in set_ and fstype in _READONLY_LATE
    parameters = attributes.plan_filesystem_options(fstype, options)
    if setup.spec.linux.mount_label and fstype not in _UNLABELLED:
        parameters = (*parameters, ("context", setup.spec.linux.mount_label))
    if fstype == "tmpfs" and path in setup.tmpfs_modes and "mode" not in dict(parameters):
        parameters = (("mode", f"{setup.tmpfs_modes[path]:o}"), *parameters)
    first = set_ & ~MountAttribute.RDONLY if is_late else set_
    made: list[Step] = [NewFilesystem(slot, fstype, mount.source or fstype, parameters, first)]
    if options.copy_up:
        original = Slot(f"{slot}-original")
        made = [MakeDirectories(ROOT, _inside(path), into=original), *made, CopyUp(original, slot)]
    made += [*_recursive_steps(slot, options), *_propagation_steps(slot, options)]
    made += _attach_steps(slot, path, fstype)
    if is_late:
        return MountPlan((), tuple(made), (SetMountAttributes(slot, MountAttribute.RDONLY),))
    return MountPlan((), tuple(made))


def _attach_steps(slot: Slot, path: str, fstype: str) -> list[Step]:
    """Where /proc and /sys are must not be a link's choice: the runtime goes by them, too (CVE-2019-19921)."""
    if path == "/":
        # What is mounted on / is the root for all that follows.
        return [AttachMount(slot, ROOT, ""), TakeMount(ROOT, slot)]
    if fstype not in _KERNEL and path not in _KERNEL_PATHS:
        return [AttachMount(slot, ROOT, _inside(path), in_proc=path.startswith("/proc/"))]
    place = Slot(f"{slot}-place")
    flags, resolve = abi.O_PATH | os.O_DIRECTORY, Resolve.IN_ROOT | Resolve.NO_SYMLINKS
    demand = f'filesystem "{fstype}" must be mounted on ordinary directory'
    return [
        About(demand, MakeDirectories(ROOT, _inside(path))),
        About(demand, Open(place, ROOT, _inside(path), flags, resolve=resolve)),
        AttachMount(slot, place, "", in_proc=True),
    ]


def _plan_remount(slot: Slot, path: str, options: Options) -> MountPlan:
    return MountPlan((), (Open(slot, ROOT, _inside(path)), *_attribute_steps(slot, options)))


def _attribute_steps(slot: Slot, options: Options) -> list[Step]:
    set_, clear = attributes.plan_attributes(options)
    top: list[Step] = [SetMountAttributes(slot, set_, clear)] if set_ or clear else []
    return top + _recursive_steps(slot, options)


def _bind_attribute_steps(slot: Slot, options: Options, setup: Setup) -> list[Step]:
    set_, clear = attributes.plan_bind_attributes(options, keeps_others=setup.is_confined_user)
    top: list[Step] = [SetMountAttributes(slot, set_, clear)] if set_ or clear else []
    return top + _recursive_steps(slot, options)


def _recursive_steps(slot: Slot, options: Options) -> list[Step]:
    set_, clear = attributes.plan_recursive_attributes(options)
    return [SetMountAttributes(slot, set_, clear, recursive=True)] if set_ or clear else []


def _propagation_steps(slot: Slot, options: Options) -> list[Step]:
    rows = [attributes.plan_propagation(flag) for flag in options.propagation]
    return [SetMountAttributes(slot, propagation=kind, recursive=recursive) for kind, recursive in rows]


def inherited_propagation(slot: Slot, setup: Setup) -> tuple[Step, ...]:
    """A copy made outside is a peer of its original; inside it is what the whole tree inside is.

    Never a peer across user namespaces, where the container could mount things in the runtime namespace: what is shared
    there is shared among its own.
    """
    kinds = [root_propagation(setup.spec)]
    if kinds == [Propagation.SHARED] and setup.has(NamespaceType.USER):
        kinds.insert(0, Propagation.SLAVE)
    return tuple(SetMountAttributes(slot, propagation=kind, recursive=True) for kind in kinds)


def root_propagation(spec: Spec) -> Propagation:
    """How mounts of the runtime namespace are seen in the container's: as slaves, if rootfsPropagation says nothing."""
    text = spec.linux.rootfs_propagation.removeprefix("r")
    return Propagation[text.upper()] if text else Propagation.SLAVE


def _idmap(mount: Mount, options: Options, setup: Setup) -> IdMap | None:
    if mount.uid_mappings:
        return IdMaps(mount.uid_mappings, mount.gid_mappings)
    if not options.idmap:
        return None
    if options.idmap_text:
        maps = mount_options.parse_idmap(options.idmap_text)
        if maps is None:
            problem = (
                f"invalid mount {mount.destination}: idmap={options.idmap_text}: expected uids=0-1000-10;gids=0-1000-10"
            )
            raise errors.SpecError("$.mounts", problem)
        return IdMaps(*maps)
    found = container_idmap(setup.spec.linux)
    if found is None:
        raise errors.SpecError(
            "$.mounts", f"idmap of {mount.destination} without mappings, nor a user namespace that has them"
        )
    return found


def container_idmap(linux: Linux) -> IdMap | None:
    """The maps of the container's user namespace; of one that is joined, those that it has."""
    path = next((n.path for n in linux.namespaces if n.type is NamespaceType.USER), "")
    if path:
        return UserNamespace(path)
    return IdMaps(linux.uid_mappings, linux.gid_mappings) if linux.uid_mappings else None


def _recursive(options: Options) -> Options:
    return msgspec.structs.replace(options, set_flags=options.set_flags | Flag.REC)


def _readonly_throughout(options: Options) -> Options:
    """A read-only /sys of the host brings its cgroups, which may be the container user's own (CVE-2023-25809)."""
    return msgspec.structs.replace(options, set_recursive=options.set_recursive | Attribute.RDONLY)


def _inside(path: str) -> str:
    return path.lstrip("/")


def _check_proc(index: int, path: str, mount: Mount) -> None:
    if path == "/proc" and mount.type != "proc" and mount.source != "/proc":
        raise errors.SpecError(
            f"$.mounts[{index}]", f'"{mount.destination}" cannot be mounted because it is inside /proc'
        )
    if path.startswith("/proc/") and path not in _ALLOWED_IN_PROC:
        raise errors.SpecError(
            f"$.mounts[{index}]", f'"{mount.destination}" cannot be mounted because it is inside /proc'
        )
