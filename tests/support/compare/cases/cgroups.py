"""config.json: linux.resources."""

from __future__ import annotations

from typing import Any

from ..case import Case
from ..observers import cgroup

_R = "linux.resources"
_MEMORY = cgroup(
    "memory.limit_in_bytes",
    "memory.soft_limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.kmem.limit_in_bytes",
    "memory.kmem.tcp.limit_in_bytes",
    "memory.swappiness",
    "memory.oom_control",
    "memory.use_hierarchy",
)
_CPU = cgroup(
    "cpu.shares",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.cfs_burst_us",
    "cpu.idle",
    "cpu.rt_runtime_us",
    "cpu.rt_period_us",
    "cpuset.cpus",
    "cpuset.mems",
)
_BLKIO = cgroup(
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
    "blkio.weight",
    "blkio.bfq.weight",
    "blkio.weight_device",
    "blkio.leaf_weight",
)
_PIDS = cgroup("pids.max")
_THROTTLES = ("throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice")
_DISK = {"major": 254, "minor": 0}
_MIB = 1 << 20


def _throttle_rows() -> tuple[str, ...]:
    return tuple(
        f"{_R}.blockIO.{name}{rest}" for name in _THROTTLES for rest in ("", "[].major", "[].minor", "[].rate")
    )


def _memory(name: str, *members: str, like: str = "runc", **values: Any) -> Case:
    return Case(
        name,
        (_R, f"{_R}.memory", *(f"{_R}.memory.{member}" for member in members)),
        {f"{_R}.memory": values},
        running={"files": _MEMORY},
        like=like,
    )


def _cpu(name: str, *members: str, like: str = "runc", **values: Any) -> Case:
    return Case(
        name,
        (_R, f"{_R}.cpu", *(f"{_R}.cpu.{member}" for member in members)),
        {f"{_R}.cpu": values},
        running={"files": _CPU},
        like=like,
    )


def _absent(name: str, rows: tuple[str, ...], **values: Any) -> Case:
    return Case(
        name,
        tuple(f"{_R}.{row}" for row in rows),
        {f"{_R}.{key}": value for key, value in values.items()},
        inside={"ran": "true"},
    )


def _rule(allow: bool, access: str = "rwm", **more: Any) -> dict[str, Any]:
    return {"allow": allow, "access": access, **more}


_DEVICES = tuple(f"{_R}.devices{rest}" for rest in ("", "[].allow", "[].type", "[].major", "[].minor", "[].access"))
_LIST = {"list": cgroup("devices.list")}

CASES = (
    _memory("memory", "limit", "reservation", "swap", limit=64 * _MIB, reservation=32 * _MIB, swap=128 * _MIB),
    _memory("memory without bounds", "limit", "reservation", "swap", limit=-1, reservation=-1, swap=-1),
    _memory("memory, swap without bounds", "limit", "swap", limit=64 * _MIB, swap=-1),
    _memory("memory alone", "limit", limit=64 * _MIB),
    _memory("swap alone", "swap", swap=64 * _MIB),
    _memory("swap less than memory", "swap", limit=64 * _MIB, swap=32 * _MIB),
    _memory("no memory", "limit", limit=0),
    _memory("swappiness", "swappiness", swappiness=17),
    _memory("swappiness of nothing", "swappiness", swappiness=0),
    _memory("swappiness too high", "swappiness", swappiness=101),
    _memory("no killing for want of memory", "disableOOMKiller", limit=64 * _MIB, disableOOMKiller=True),
    _memory(
        "memory of the kernel",
        "kernel",
        "kernelTCP",
        limit=64 * _MIB,
        kernel=32 * _MIB,
        kernelTCP=16 * _MIB,
        like="crun",
    ),
    _memory("hierarchy", "useHierarchy", limit=64 * _MIB, useHierarchy=True),
    _memory("a check before", "checkBeforeUpdate", limit=64 * _MIB, checkBeforeUpdate=True),
    _memory("far too little memory", "limit", limit=4096),
    _cpu("cpu", "shares", "quota", "period", shares=512, quota=50000, period=100000),
    _cpu("cpu without a period", "quota", quota=20000),
    _cpu("cpu without a quota", "period", period=50000),
    _cpu("cpu without bounds", "quota", quota=-1, period=50000),
    _cpu("shares too few", "shares", shares=1),
    _cpu("shares too many", "shares", shares=1 << 30),
    _cpu("idle", "idle", idle=1, like="crun"),
    _cpu("set of processors", "cpus", "mems", cpus="0", mems="0"),
    _cpu("processors that there are not", "cpus", cpus="4000"),
    _cpu("nodes that there are not", "mems", mems="900"),
    _cpu("real time", "realtimeRuntime", "realtimePeriod", realtimeRuntime=0, realtimePeriod=500000),
    *(
        Case(
            f"processes {limit}",
            (_R, f"{_R}.pids", f"{_R}.pids.limit"),
            {f"{_R}.pids": {"limit": limit}},
            running={"files": _PIDS},
        )
        for limit in (100, -1, 0)
    ),
    Case(
        "throttles",
        (f"{_R}.blockIO", *_throttle_rows()),
        {f"{_R}.blockIO": {name: [{**_DISK, "rate": 1 * _MIB + index}] for index, name in enumerate(_THROTTLES)}},
        running={"files": _BLKIO},
    ),
    Case(
        "throttles of a device that there is not",
        _throttle_rows(),
        {f"{_R}.blockIO": {_THROTTLES[0]: [{"major": 250, "minor": 77, "rate": 1}]}},
        inside={"ran": "true"},
    ),
    Case("weight", (f"{_R}.blockIO.weight",), {f"{_R}.blockIO": {"weight": 500}}, running={"files": _BLKIO}),
    Case(
        "leaf weight", (f"{_R}.blockIO.leafWeight",), {f"{_R}.blockIO": {"leafWeight": 500}}, running={"files": _BLKIO}
    ),
    Case(
        "weight of a device",
        tuple(f"{_R}.blockIO.weightDevice{rest}" for rest in ("", "[].major", "[].minor", "[].weight")),
        {f"{_R}.blockIO": {"weightDevice": [{**_DISK, "weight": 500}]}},
        running={"files": _BLKIO},
    ),
    Case(
        "leaf weight of a device",
        (f"{_R}.blockIO.weightDevice[].leafWeight",),
        {f"{_R}.blockIO": {"weightDevice": [{**_DISK, "leafWeight": 300}]}},
        running={"files": _BLKIO},
    ),
    _absent(
        "huge pages",
        ("hugepageLimits", "hugepageLimits[].pageSize", "hugepageLimits[].limit"),
        hugepageLimits=[{"pageSize": "2MB", "limit": 1 << 21}],
    ),
    _absent("class of packets", ("network", "network.classID"), network={"classID": 1048577}),
    _absent(
        "priorities of packets",
        ("network.priorities", "network.priorities[].name", "network.priorities[].priority"),
        network={"priorities": [{"name": "lo", "priority": 500}]},
    ),
    _absent(
        "rdma", ("rdma", "rdma.*.hcaHandles", "rdma.*.hcaObjects"), rdma={"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}}
    ),
    _absent("files of v2", ("unified",), unified={"memory.high": "1000000000"}),
    _absent("a file of v2 that there is not", ("unified",), unified={"nonesuch.max": "1"}),
    _absent("a path in unified", ("unified",), unified={"../memory.max": "1"}),
    Case(
        "devices of nobody",
        _DEVICES,
        {f"{_R}.devices": [_rule(False)]},
        running=_LIST,
        inside={"null": "echo x > /dev/null", "make": "mknod /tmp/loop b 7 3; dd if=/tmp/loop count=1"},
    ),
    Case("devices of everybody", _DEVICES, {f"{_R}.devices": [_rule(True)]}, running=_LIST),
    Case(
        "rules of devices",
        _DEVICES,
        {
            f"{_R}.devices": [
                _rule(False),
                _rule(True, "rw", type="c", major=10, minor=229),
                _rule(True, "r", type="b", major=7),
                _rule(True, "m", type="c"),
                _rule(False, "w", type="c", major=10, minor=229),
            ]
        },
        running=_LIST,
    ),
    Case(
        "a rule without an access",
        _DEVICES,
        {f"{_R}.devices": [{"allow": True, "type": "c", "major": 10, "minor": 229}]},
        inside={"ran": "true"},
    ),
    Case("a rule of another kind", _DEVICES, {f"{_R}.devices": [_rule(True, type="x")]}, inside={"ran": "true"}),
    Case("no rules of devices", (f"{_R}.devices",), without=("linux.resources",), running=_LIST),
)
