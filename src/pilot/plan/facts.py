"""What is known about this host before anything is planned: one value, found by `kernel.probe`, read by all of `plan`.

A plan depends on its Spec and on these facts and on nothing else, so a test can plan for a machine it does not have.
Never probe here: this file has no I/O.
"""

from __future__ import annotations

import enum

import msgspec


class CgroupLayout(enum.Enum):
    """Which hierarchies carry the controllers."""

    NONE = "none"
    V1 = "v1"  # every controller on v1 hierarchies
    V2 = "v2"  # one cgroup2 tree
    HYBRID = "hybrid"  # controllers on v1, and a cgroup2 tree beside them


class CgroupMount(msgspec.Struct, frozen=True):
    """One mounted hierarchy, as the caller of the runtime sees it."""

    mount_point: str
    controllers: tuple[str, ...]  # v1: what the mount is of, in order; a named one is ("name=systemd",); v2: ()
    version: int  # 1 or 2
    own_group: str = "/"  # the caller's cgroup, below mount_point
    root: str = "/"  # which cgroup is mounted there, as /proc/self/cgroup counts: not "/" where a part of a tree is

    @property
    def name(self) -> str:
        """Name of its directory below /sys/fs/cgroup inside a container: cpu,cpuacct; systemd; unified."""
        if self.version == 2:
            return "unified"
        return ",".join(c.removeprefix("name=") for c in self.controllers)


class HostFacts(msgspec.Struct, frozen=True):
    """Facts of the kernel and of the namespaces the runtime itself runs in. Defaults: a current, complete host."""

    kernel: tuple[int, int] = (6, 18)
    architecture: str = "x86_64"  # as uname has it
    cgroup_layout: CgroupLayout = CgroupLayout.V2
    cgroup_mounts: tuple[CgroupMount, ...] = ()
    cgroup_controllers: frozenset[str] = frozenset()  # all that can be used, of whichever version
    lsms: frozenset[str] = frozenset()  # of /sys/kernel/security/lsm, e.g. {"apparmor", "selinux"}
    cap_last_cap: int = 40
    in_user_namespace: bool = False  # the runtime is not in the initial user namespace
    effective_uid: int = 0
    namespaces: frozenset[str] = frozenset({"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"})
    idmapped_mounts: bool = True
    seccomp_actions: frozenset[str] = frozenset()  # of /proc/sys/kernel/seccomp/actions_avail

    @property
    def is_rootless(self) -> bool:
        """Whether the runtime has no privileges but those over user namespaces that it makes."""
        return self.effective_uid != 0
