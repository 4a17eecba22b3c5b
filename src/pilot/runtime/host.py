"""Facts about this host, for plans."""

from __future__ import annotations

import os

from ..kernel.hierarchies import Hierarchies
from ..plan.facts import HostFacts


def probe_facts(hierarchies: Hierarchies) -> HostFacts:
    """Read what is cheap to read; nothing is tried."""
    uname = os.uname()
    major, minor = uname.release.split(".")[:2]
    return HostFacts(
        kernel=(int(major), int(minor.split("-")[0])),
        architecture=uname.machine,
        cgroup_layout=hierarchies.layout,
        cgroup_mounts=hierarchies.mounts,
        cgroup_controllers=hierarchies.controllers,
        lsms=frozenset(_read("/sys/kernel/security/lsm").split(",")) - {""},
        cap_last_cap=int(_read("/proc/sys/kernel/cap_last_cap") or 40),
        in_user_namespace=_read("/proc/self/uid_map").split() != ["0", "0", "4294967295"],
        effective_uid=os.geteuid(),
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:  # not mounted, or not there in this kernel
        return ""
