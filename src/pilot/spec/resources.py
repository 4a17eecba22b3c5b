"""`linux.resources` of config.json: limits that cgroups enforce; bytes and microseconds."""

from __future__ import annotations

import msgspec

from .document import Document


class DeviceRule(Document, frozen=True):
    """Allow or deny `access` (of r, w, m) to devices; `type` a, b or c; a number of None is every number."""

    allow: bool = False
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


class Memory(Document, frozen=True):
    """Limits in bytes, -1 is none. `swap` counts memory and swap together, as cgroup v1 does."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = msgspec.field(default=None, name="kernelTCP")
    swappiness: int | None = None
    disable_oom_killer: bool | None = msgspec.field(default=None, name="disableOOMKiller")
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


class Cpu(Document, frozen=True):
    """Times in microseconds."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


class Pids(Document, frozen=True):
    """Number of tasks; -1 is no limit."""

    limit: int | None = None


class WeightDevice(Document, frozen=True):
    """Block device weights, 10 to 1000."""

    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


class ThrottleDevice(Document, frozen=True):
    """Bytes or operations per second."""

    major: int
    minor: int
    rate: int = 0


class BlockIO(Document, frozen=True):
    """Weights 10 to 1000 and limits per device."""

    weight: int | None = None
    leaf_weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="throttleReadIOPSDevice")
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="throttleWriteIOPSDevice")


class HugepageLimit(Document, frozen=True):
    """`page_size` such as 2MB; `limit` in bytes."""

    page_size: str
    limit: int = 0


class InterfacePriority(Document, frozen=True):
    """net_prio of one interface."""

    name: str
    priority: int = 0


class Network(Document, frozen=True):
    """net_cls and net_prio."""

    class_id: int | None = msgspec.field(default=None, name="classID")
    priorities: tuple[InterfacePriority, ...] = ()


class Rdma(Document, frozen=True):
    """Limits of one RDMA device."""

    hca_handles: int | None = None
    hca_objects: int | None = None


class Resources(Document, frozen=True):
    """All of `linux.resources`. `unified` is file name → text of cgroup v2, written as it is."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = msgspec.field(default=None, name="blockIO")
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: dict[str, Rdma] = msgspec.field(default_factory=dict)
    unified: dict[str, str] = msgspec.field(default_factory=dict)
