"""Device nodes and links below /dev: those that every container has, and those of `linux.devices`.

They are made in a /dev that is the container's own: a tmpfs that config.json mounts there, else the rootfs's directory.
Whatever else lies there (a bind, the kernel's one devtmpfs, a mount that the rootfs brought along) belongs to others,
the host above all, and is left as it is.

In a user namespace nobody may make a node, so they are bound: the host's for the default ones; for those of the Spec
nodes that the parent makes in a filesystem that nobody sees, with their mode and owner. The node of a Spec's device
replaces the default one of the same path.
"""

from __future__ import annotations

import os
import stat

from .. import errors
from ..spec.document import IdMapping
from ..spec.linux import Device
from . import abi, mounts
from .abi import Propagation, Resolve
from .code import Slot
from .plan import ROOT, Opening, OpenMount, OpenNode, clean
from .program import Step
from .setup import Setup
from .steps import AttachMount, MakeDirectories, MakeNode, MakeSymlink, Open, Remove, SetMountAttributes

_NUMBERS = {"null": (1, 3), "random": (1, 8), "full": (1, 7), "tty": (5, 0), "zero": (1, 5), "urandom": (1, 9)}
_DEFAULT = tuple(Device(f"/dev/{name}", "c", *number, 0o666, 0, 0) for name, number in _NUMBERS.items())
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_DEV = Slot("dev")


def plan_nodes(setup: Setup) -> tuple[tuple[Opening, ...], tuple[Step, ...]]:
    """Openings and steps; none where /dev is not the container's own."""
    dev = _plan_dev(setup)
    if dev is None:
        return (), ()
    base, opens = dev
    # Who asks for ptmx gets what everybody gets, a link (`_plan_links`): a node would be of the host's devpts.
    wanted = [device for device in setup.spec.linux.devices if clean(device.path) != "/dev/ptmx"]
    own = {clean(device.path) for device in wanted}
    devices = [device for device in _DEFAULT if device.path not in own] + wanted
    openings: list[Opening] = []
    steps: list[Step] = []
    for index, device in enumerate(devices):
        place = _place(device, base)
        if not setup.is_confined_user or device.type == "p":
            steps.append(_plan_node(device, *place))
            continue
        slot = Slot(f"device{index}")
        openings.append(_plan_bound(slot, device, setup))
        steps += [SetMountAttributes(slot, propagation=Propagation.PRIVATE), AttachMount(slot, *place)]
    return tuple(openings), (*opens, *steps, *_plan_links(base))


def _plan_dev(setup: Setup) -> tuple[Slot, tuple[Step, ...]] | None:
    """The directory that nodes are made in, and how it is opened; None where there is no such of the container's own.

    A mount is known by its descriptor, so that no link of the rootfs can name another.
    """
    there = [(n, mount) for n, mount in enumerate(setup.spec.mounts) if mounts.makes_mount_at(mount, "/dev")]
    if there:
        index, mount = there[-1]
        return (mounts.mount_slot(index), ()) if mounts.is_own_tmpfs(mount) else None
    if setup.dev_is_mounted:
        return None
    # Where it is must not be a link's choice, as for /proc and /sys.
    flags, resolve = abi.O_PATH | os.O_DIRECTORY, Resolve.IN_ROOT | Resolve.NO_XDEV | Resolve.NO_SYMLINKS
    return _DEV, (MakeDirectories(ROOT, "dev"), Open(_DEV, ROOT, "dev", flags, resolve=resolve))


def _plan_bound(slot: Slot, device: Device, setup: Setup) -> Opening:
    host = OpenMount(slot, device.path, recursive=False, subject=f"$.linux.devices: bind {device.path}")
    linux = setup.spec.linux
    if device in _DEFAULT or setup.facts.is_rootless or setup.facts.in_user_namespace:
        return host
    uid, gid = _outside(device.uid, linux.uid_mappings), _outside(device.gid, linux.gid_mappings)
    if uid is None or gid is None:
        return host
    return OpenNode(slot, device.path, _mode(device), device.major, device.minor, uid, gid)


def _outside(id: int | None, rows: tuple[IdMapping, ...]) -> int | None:
    """What an id of the container is outside; None where it is nobody's."""
    wanted = id or 0
    found = (row for row in rows if row.container_id <= wanted < row.container_id + row.size)
    return next((wanted - row.container_id + row.host_id for row in found), None)


def _mode(device: Device) -> int:
    return _TYPES[device.type] | (0o666 if device.file_mode is None else device.file_mode & 0o7777)


def _place(device: Device, dev: Slot) -> tuple[Slot, str]:
    """Base and path of a node."""
    path = clean(device.path)
    if path in {"/", "/dev"}:
        raise errors.SpecError("$.linux.devices", f"no device can be at {device.path!r}")
    return (dev, path.removeprefix("/dev/")) if path.startswith("/dev/") else (ROOT, path.lstrip("/"))


def _plan_node(device: Device, base: Slot, path: str) -> Step:
    return MakeNode(
        base, path, _mode(device), device.major, device.minor, device.uid or 0, device.gid or 0, exist_ok=True
    )


def _plan_links(dev: Slot) -> tuple[Step, ...]:
    """ptmx is a link to the container's own devpts, whatever the rootfs has there."""
    return (
        *(MakeSymlink(dev, name, target) for name, target in _LINKS.items()),
        Remove(dev, "ptmx"),
        MakeSymlink(dev, "ptmx", "pts/ptmx"),
    )
