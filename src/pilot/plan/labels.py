"""Security labels of the process: the AppArmor profile and the SELinux context that it gets with exec.

The label files are opened while /proc is still the host's, where no rootfs can stand in for it, and written at the end.
"""

from __future__ import annotations

from .. import errors
from ..spec.process import Process
from . import abi
from .code import Slot
from .facts import HostFacts
from .program import Step
from .steps import Open, Write

_UNCONFINED = "unconfined"


def plan_labels(process: Process, facts: HostFacts) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """(Open the files, write the labels). HostError when the host has no such security module."""
    opens: list[Step] = []
    writes: list[Step] = []
    for module, file, value in _labels(process):
        if module not in facts.lsms:
            raise errors.HostError(f"set {module} label {value}: {module} is not enabled on this host")
        slot = Slot(f"{module}-label")
        opens.append(Open(slot, None, f"/proc/self/attr/{file}", abi.O_WRONLY))
        text = f"exec {value}" if module == "apparmor" else value
        writes.append(Write(slot, text.encode()))
    return tuple(opens), tuple(writes)


def _labels(process: Process) -> list[tuple[str, str, str]]:
    """(security module, file below /proc/self/attr, label); unconfined is what everything is without a label."""
    rows = []
    if process.apparmor_profile and process.apparmor_profile != _UNCONFINED:
        rows.append(("apparmor", "apparmor/exec", process.apparmor_profile))
    if process.selinux_label:
        rows.append(("selinux", "exec", process.selinux_label))
    return rows
