"""What root of the world may do, by its privileges: a table, and what stands in config.json for it.

    profile       capabilities    refused by seccomp                                cgroups        devices
    minimal       Docker's        beyond machines; Docker's default; namespaces,    read-only      none
                  default         mounts
    standard      all             beyond machines; Docker's default                 its own, but   fuse, tun
                                                                                    v1's memory
    privileged    all             beyond machines                                   its own        fuse, tun

Capabilities are over the world's own user namespace in any case. What reaches beyond the machine, to its neighbours, no
profile allows (`world_seccomp`). Of cgroup v1 nothing bounds how many a world makes, and those of `memory` cost the
kernel of the host most: they are given away where they are asked for, and else neither shown nor its to make.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from ..wire.schema import Privileges
from . import world_seccomp

MEMORY = "memory"
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
    "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
    "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
_FEW = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
)  # fmt: skip
_DEVICES = ("/dev/fuse", "/dev/net/tun")


class Cgroups(enum.Enum):
    """How its own cgroup is given to the world."""

    READ_ONLY = enum.auto()
    BUT_MEMORY_OF_V1 = enum.auto()
    ALL = enum.auto()


class Rights(msgspec.Struct, frozen=True):
    """Of one world. `devices`: those that are bound in, where the machine has them."""

    capabilities: tuple[str, ...] = CAPABILITIES
    refused: tuple[world_seccomp.Rules, ...] = (world_seccomp.BEYOND, world_seccomp.DEFAULT)
    cgroups: Cgroups = Cgroups.BUT_MEMORY_OF_V1
    devices: tuple[str, ...] = _DEVICES
    no_new_privileges: bool = False

    @property
    def withheld(self) -> tuple[str, ...]:
        """Controllers of v1 in whose hierarchies the world makes no cgroups."""
        return () if self.cgroups is Cgroups.ALL else (MEMORY,)

    def seccomp(self, machine: str) -> dict[str, object]:
        """`linux.seccomp` on this kind of machine (uname -m)."""
        return world_seccomp.profile(machine, self.refused)


STANDARD = Rights()
_PROFILES: Mapping[str, Rights] = {
    "": STANDARD,
    "standard": STANDARD,
    "privileged": Rights(refused=(world_seccomp.BEYOND,), cgroups=Cgroups.ALL),
    "minimal": Rights(
        capabilities=_FEW,
        refused=(world_seccomp.BEYOND, world_seccomp.DEFAULT, world_seccomp.NAMESPACES),
        cgroups=Cgroups.READ_ONLY,
        devices=(),
    ),
}


def plan_rights(privileges: Privileges) -> Rights:
    """What these words mean."""
    rights = _PROFILES[privileges.profile]
    return msgspec.structs.replace(
        rights,
        devices=tuple(dict.fromkeys((*rights.devices, *privileges.devices))),
        no_new_privileges=privileges.no_new_privileges,
    )
