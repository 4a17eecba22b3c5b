"""Security labels of the process: the AppArmor profile and the SELinux context that it gets with exec.

The label files belong to a process, and it opens them itself, but through the runtime namespace's /proc, of which it
takes hold first: nothing in a rootfs, or in a mount namespace that is joined, can stand in for it. They are written at
the end.
"""

from __future__ import annotations

import os

import msgspec

from .. import errors
from ..spec.process import Process
from . import abi
from .abi import Resolve
from .code import Slot
from .facts import HostFacts
from .program import Step
from .steps import Open, Write

_UNCONFINED = "unconfined"
_PROC = Slot("proc")


class Labels(msgspec.Struct, frozen=True):
    """In this order: take hold of /proc, while it is the runtime namespace's; open the files; write the labels."""

    holds: tuple[Step, ...] = ()
    opens: tuple[Step, ...] = ()
    writes: tuple[Step, ...] = ()


# In runc's words.
_WITHOUT = {
    "selinux": "selinux label is specified in config, but selinux is disabled or not supported: {}",
    "apparmor": "unable to apply apparmor profile: apparmor is not enabled on this host: {}",
}


def plan_labels(process: Process, facts: HostFacts) -> Labels:
    """What the process asks for. HostError when the host has no such security module."""
    opens: list[Step] = []
    writes: list[Step] = []
    for module, file, value in _labels(process):
        if module not in facts.lsms:
            raise errors.HostError(_WITHOUT[module].format(value))
        slot = Slot(f"{module}-label")
        opens.append(Open(slot, _PROC, f"self/attr/{file}", abi.O_WRONLY, resolve=Resolve.BENEATH))
        text = f"exec {value}" if module == "apparmor" else value
        writes.append(Write(slot, text.encode()))
    if not opens:
        return Labels()
    hold = Open(_PROC, None, "/proc", abi.O_PATH | os.O_DIRECTORY)
    return Labels((hold,), tuple(opens), tuple(writes))


def _labels(process: Process) -> list[tuple[str, str, str]]:
    """(security module, file below /proc/self/attr, label); unconfined is what everything is without a label."""
    rows = []
    if process.apparmor_profile and process.apparmor_profile != _UNCONFINED:
        rows.append(("apparmor", "apparmor/exec", process.apparmor_profile))
    if process.selinux_label:
        rows.append(("selinux", "exec", process.selinux_label))
    return rows
