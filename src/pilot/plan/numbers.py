"""The specification's names → the kernel's numbers. Data only, from the headers of linux/."""

from __future__ import annotations

from ..spec.linux import NamespaceType

# Namespace → (clone flag, name below /proc/PID/ns)
NAMESPACES: dict[NamespaceType, tuple[int, str]] = {
    NamespaceType.USER: (0x10000000, "user"),
    NamespaceType.MOUNT: (0x00020000, "mnt"),
    NamespaceType.UTS: (0x04000000, "uts"),
    NamespaceType.IPC: (0x08000000, "ipc"),
    NamespaceType.NETWORK: (0x40000000, "net"),
    NamespaceType.PID: (0x20000000, "pid"),
    NamespaceType.CGROUP: (0x02000000, "cgroup"),
    NamespaceType.TIME: (0x00000080, "time"),
}

RLIMITS: dict[str, int] = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        (
            "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
            "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
        )
    )
}  # fmt: skip

SCHEDULERS: dict[str, int] = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip

SCHEDULER_FLAGS: dict[str, int] = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}

IO_CLASSES: dict[str, int] = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
IO_CLASS_SHIFT = 13

PERSONALITIES: dict[str, int] = {"LINUX": 0x0000, "LINUX32": 0x0008}

MEMORY_POLICIES: dict[str, int] = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
MEMORY_POLICY_FLAGS: dict[str, int] = {
    "MPOL_F_STATIC_NODES": 1 << 15,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13,
}
