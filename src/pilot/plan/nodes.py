"""Device nodes and links below /dev: those that every container has, and those of `linux.devices`.

In a user namespace nobody may make a node, so the host's are bound. The node of a Spec's device replaces the
default one of the same path.
"""

from __future__ import annotations

import stat

from .. import errors
from ..spec.linux import Device
from .abi import Propagation
from .code import Slot
from .plan import ROOT, OpenMount, clean
from .program import Step
from .setup import Setup
from .steps import AttachMount, Close, MakeDirectories, MakeNode, MakeSymlink, Remove, SetMountAttributes

_NUMBERS = {"null": (1, 3), "random": (1, 8), "full": (1, 7), "tty": (5, 0), "zero": (1, 5), "urandom": (1, 9)}
_DEFAULT = tuple(Device(f"/dev/{name}", "c", *number, 0o666, 0, 0) for name, number in _NUMBERS.items())
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_DEV = Slot("dev")


def wants_nodes(setup: Setup) -> bool:
    """Not when /dev is somebody else's, bound."""
    for mount in setup.spec.mounts:
        if clean(mount.destination) == "/dev":
            return not ({"bind", "rbind"} & set(mount.options) or mount.type == "bind")
    return True


def plan_nodes(setup: Setup) -> tuple[tuple[OpenMount, ...], tuple[Step, ...]]:
    """Openings and steps."""
    if not wants_nodes(setup):
        return (), ()
    own = {device.path for device in setup.spec.linux.devices}
    devices = [device for device in _DEFAULT if device.path not in own] + list(setup.spec.linux.devices)
    openings: list[OpenMount] = []
    steps: list[Step] = []
    for index, device in enumerate(devices):
        if not setup.is_confined_user or device.type == "p":
            steps.append(_plan_node(device))
            continue
        slot = Slot(f"device{index}")
        openings.append(OpenMount(slot, device.path, recursive=False))
        steps += [
            SetMountAttributes(slot, propagation=Propagation.PRIVATE),
            AttachMount(slot, ROOT, _inside(device.path)),
            Close(slot),
        ]
    return tuple(openings), (*steps, *_plan_links())


def _plan_node(device: Device) -> Step:
    mode = _TYPES[device.type] | (0o666 if device.file_mode is None else device.file_mode & 0o7777)
    if device.path in {"/", ""}:
        raise errors.SpecError("$.linux.devices", f"no device can be at {device.path!r}")
    return MakeNode(
        ROOT, _inside(device.path), mode, device.major, device.minor, device.uid or 0, device.gid or 0, exist_ok=True
    )


def _plan_links() -> tuple[Step, ...]:
    """ptmx is a link to the container's own devpts, whatever the rootfs has there."""
    return (
        *(MakeSymlink(ROOT, f"dev/{name}", target) for name, target in _LINKS.items()),
        MakeDirectories(ROOT, "dev", into=_DEV),
        Remove(_DEV, "ptmx"),
        MakeSymlink(ROOT, "dev/ptmx", "pts/ptmx"),
        Close(_DEV),
    )


def _inside(path: str) -> str:
    return clean(path).lstrip("/")
