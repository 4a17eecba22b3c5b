"""A config.json that has every property of runtime-spec 1.3 for Linux; valid as a document, not meant to be run."""

from __future__ import annotations

import copy
from typing import Any

Config = dict[str, Any]

_IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
_HOOK = {"path": "/bin/hook", "args": ["hook", "word"], "env": ["A=1"], "timeout": 5}
_THROTTLE = [{"major": 8, "minor": 0, "rate": 600}]
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


def _process() -> Config:
    return {
        "terminal": True,
        "consoleSize": {"height": 24, "width": 80},
        "cwd": "/work",
        "env": ["PATH=/bin", "TERM=xterm"],
        "args": ["sh", "-c", "true"],
        "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3, 4], "username": "some"},
        "capabilities": {name: ["CAP_KILL"] for name in _SETS},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
        "noNewPrivileges": True,
        "apparmorProfile": "unconfined",
        "selinuxLabel": "",
        "oomScoreAdj": 100,
        "scheduler": {
            "policy": "SCHED_DEADLINE",
            "nice": 0,
            "priority": 0,
            "flags": ["SCHED_FLAG_RESET_ON_FORK"],
            "runtime": 1000000,
            "deadline": 2000000,
            "period": 2000000,
        },
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0", "final": "0-1"},
    }


def _resources() -> Config:
    return {
        "devices": [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}],
        "memory": {
            "limit": 1 << 28,
            "reservation": 1 << 27,
            "swap": 1 << 29,
            "kernel": -1,
            "kernelTCP": -1,
            "swappiness": 60,
            "disableOOMKiller": False,
            "useHierarchy": True,
            "checkBeforeUpdate": True,
        },
        "cpu": {
            "shares": 1024,
            "quota": 100000,
            "burst": 10000,
            "period": 100000,
            "realtimeRuntime": 0,
            "realtimePeriod": 1000000,
            "cpus": "0",
            "mems": "0",
            "idle": 0,
        },
        "pids": {"limit": 100},
        "blockIO": {
            "weight": 10,
            "leafWeight": 10,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
            "throttleReadBpsDevice": _THROTTLE,
            "throttleWriteBpsDevice": _THROTTLE,
            "throttleReadIOPSDevice": _THROTTLE,
            "throttleWriteIOPSDevice": _THROTTLE,
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}],
        "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 1000}},
        "unified": {"hugetlb.1GB.max": "1073741824"},
    }


def _seccomp() -> Config:
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/run/agent.sock",
        "listenerMetadata": "text",
        "syscalls": [
            {
                "names": ["mkdir"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 1,
                "args": [{"index": 1, "value": 7, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}],
            },
            {"names": ["mknod"], "action": "SCMP_ACT_NOTIFY"},
        ],
    }


def _linux() -> Config:
    kinds = ("pid", "network", "ipc", "uts", "mount", "user", "cgroup", "time")
    return {
        "namespaces": [{"type": kind} for kind in kinds if kind != "network"]
        + [{"type": "network", "path": "/run/netns/web"}],
        "uidMappings": _IDS,
        "gidMappings": _IDS,
        "timeOffsets": {"monotonic": {"secs": 1, "nanosecs": 2}, "boottime": {"secs": 3, "nanosecs": 4}},
        "devices": [
            {"path": "/dev/x", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0},
            {"path": "/dev/pipe", "type": "p"},
        ],
        "netDevices": {"eth1": {"name": "lan"}},
        "cgroupsPath": "/pods/web",
        "resources": _resources(),
        "rootfsPropagation": "rslave",
        "seccomp": _seccomp(),
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "",
        "personality": {"domain": "LINUX32", "flags": []},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]},
        "intelRdt": {
            "closID": "guaranteed",
            "schemata": ["L3:0=7f0;1=1f"],
            "l3CacheSchema": "L3:0=ffff0",
            "memBwSchema": "MB:0=20",
            "enableMonitoring": True,
        },
        "sysctl": {"net.ipv4.ip_forward": "1"},
    }


def full_config() -> Config:
    """A new copy."""
    config = {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs", "readonly": True},
        "process": _process(),
        "hostname": "web",
        "domainname": "example.org",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/data",
                "type": "bind",
                "source": "data",
                "options": ["rbind", "ro"],
                "uidMappings": _IDS,
                "gidMappings": _IDS,
            },
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        ],
        "hooks": {name: [_HOOK] for name in _HOOKS},
        "annotations": {"org.example.key": "value"},
        "linux": _linux(),
    }
    return copy.deepcopy(config)
