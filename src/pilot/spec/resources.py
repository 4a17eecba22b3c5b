"""`linux.resources` of config.json: limits that cgroups enforce; bytes and microseconds."""

# Annotations are objects here, not texts: see `document`.

import msgspec

from .document import Document, Int64, UInt32, UInt64


class DeviceRule(Document, frozen=True):
    """Allow or deny `access` (of r, w, m) to devices; `type` a, b or c; a number of None is every number.

    Without an access it is refused, as by runc: what a rule that names none would allow is nobody's guess.
    """

    allow: bool = False
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = ""


class Memory(Document, frozen=True):
    """Limits in bytes, -1 is none. `swap` counts memory and swap together, as cgroup v1 does."""

    limit: Int64 | None = None
    reservation: Int64 | None = None
    swap: Int64 | None = None
    kernel: Int64 | None = None
    kernel_tcp: Int64 | None = msgspec.field(default=None, name="kernelTCP")
    swappiness: UInt64 | None = None
    disable_oom_killer: bool | None = msgspec.field(default=None, name="disableOOMKiller")
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


class Cpu(Document, frozen=True):
    """Times in microseconds."""

    shares: UInt64 | None = None
    quota: Int64 | None = None
    burst: UInt64 | None = None
    period: UInt64 | None = None
    realtime_runtime: Int64 | None = None
    realtime_period: UInt64 | None = None
    cpus: str = ""
    mems: str = ""
    idle: Int64 | None = None


class Pids(Document, frozen=True):
    """Number of tasks; -1 is no limit."""

    limit: Int64 | None = None


class WeightDevice(Document, frozen=True):
    """Block device weights, 10 to 1000."""

    major: Int64
    minor: Int64
    weight: Int64 | None = None
    leaf_weight: Int64 | None = None


class ThrottleDevice(Document, frozen=True):
    """Bytes or operations per second."""

    major: Int64
    minor: Int64
    rate: UInt64 = 0


class BlockIO(Document, frozen=True):
    """Weights 10 to 1000 and limits per device."""

    weight: Int64 | None = None
    leaf_weight: Int64 | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="throttleReadIOPSDevice")
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="throttleWriteIOPSDevice")


class HugepageLimit(Document, frozen=True):
    """`page_size` such as 2MB; `limit` in bytes."""

    page_size: str
    limit: UInt64 = 0


class InterfacePriority(Document, frozen=True):
    """net_prio of one interface."""

    name: str
    priority: int = 0


class Network(Document, frozen=True):
    """net_cls and net_prio."""

    class_id: UInt32 | None = msgspec.field(default=None, name="classID")
    priorities: tuple[InterfacePriority, ...] = ()


class Rdma(Document, frozen=True):
    """Limits of one RDMA device."""

    hca_handles: UInt32 | None = None
    hca_objects: UInt32 | None = None


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
