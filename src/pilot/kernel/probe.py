"""What this host can do, found by asking the kernel: `HostFacts` for the planner.

Each fact is one small function; what cannot be found out is taken as absent. Nothing is changed and nothing started.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re

from ..plan.facts import HostFacts
from . import hierarchies, kernfs, mounts, syscalls

# The initial user namespace has this inode on every Linux (PROC_USER_INIT_INO).
_INITIAL_USER_NAMESPACE = 0xEFFFFFFD
_LSM_LIST_MODULES = 461
# LSM_ID_* of <linux/lsm.h>.
_LSM_NAMES = {
    100: "capability", 101: "selinux", 102: "smack", 103: "tomoyo", 104: "apparmor", 105: "yama", 106: "loadpin",
    107: "safesetid", 108: "lockdown", 109: "bpf", 110: "landlock", 111: "ima", 112: "evm", 113: "ipe",
}  # fmt: skip
_NO_CAPABILITY_BEYOND = 40  # CAP_CHECKPOINT_RESTORE, for a /proc without cap_last_cap


def probe_host() -> HostFacts:
    """All facts, as this process sees them now."""
    found = hierarchies.probe_hierarchies()
    return HostFacts(
        kernel=probe_kernel(),
        architecture=os.uname().machine,
        cgroup_layout=found.layout,
        cgroup_mounts=found.mounts,
        cgroup_controllers=found.controllers,
        lsms=probe_lsms(),
        cap_last_cap=int(kernfs.read_or_none("/proc/sys/kernel/cap_last_cap") or _NO_CAPABILITY_BEYOND),
        in_user_namespace=probe_in_user_namespace(),
        effective_uid=os.geteuid(),
        namespaces=probe_namespaces(),
        idmapped_mounts=probe_idmapped_mounts(),
        seccomp_actions=frozenset((kernfs.read_or_none("/proc/sys/kernel/seccomp/actions_avail") or "").split()),
    )


def probe_kernel() -> tuple[int, int]:
    """(major, minor)."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(release[1]), int(release[2])) if release else (0, 0)


def probe_in_user_namespace() -> bool:
    """Whether we are in any but the initial user namespace; it alone decides, whatever ids are mapped."""
    try:
        return os.stat("/proc/self/ns/user").st_ino != _INITIAL_USER_NAMESPACE
    except FileNotFoundError:
        return False  # a kernel without user namespaces


def probe_namespaces() -> frozenset[str]:
    """Kinds of namespace that this kernel has, by their names in /proc/self/ns."""
    return frozenset(name for name in os.listdir("/proc/self/ns") if not name.endswith("_for_children"))


def probe_lsms() -> frozenset[str]:
    """Active security modules: by the system call of 6.8, securityfs, or the traces of the two big ones."""
    listed = _list_lsms()
    if listed is not None:
        return listed
    text = kernfs.read_or_none("/sys/kernel/security/lsm")
    if text:
        return frozenset(text.split(","))
    apparmor = kernfs.read_or_none("/sys/module/apparmor/parameters/enabled") == "Y"
    selinux = kernfs.read_or_none("/sys/fs/selinux/enforce") is not None
    return frozenset(name for name, active in (("apparmor", apparmor), ("selinux", selinux)) if active)


def _list_lsms() -> frozenset[str] | None:
    ids = (ctypes.c_uint64 * 32)()
    size = ctypes.c_uint32(ctypes.sizeof(ids))
    try:
        count = syscalls.call(_LSM_LIST_MODULES, ids, ctypes.byref(size), 0, what="list security modules")
    except OSError:
        return None  # ENOSYS before 6.8, or a filter that does not know the call
    return frozenset(_LSM_NAMES.get(number, str(number)) for number in ids[:count])


def probe_idmapped_mounts() -> bool:
    """Whether mount_setattr(2) knows MOUNT_ATTR_IDMAP (5.12): then a bad namespace descriptor is what it minds."""
    try:
        mounts.set_attributes("/", userns_fd=_never_open())
    except OSError as error:
        return error.errno == errno.EBADF
    return False


def _never_open() -> int:
    """A number that no descriptor can have: not below the limit of open files."""
    return (1 << 31) - 1
