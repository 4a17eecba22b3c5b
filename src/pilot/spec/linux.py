"""`linux` of config.json: namespaces, ids, devices and the rest of what only Linux has."""

# Annotations are objects here, not texts: see `document`.

import enum

import msgspec

from . import resources as resources_
from . import seccomp as seccomp_
from .document import Document, IdMapping, Int64, UInt32


class NamespaceType(enum.Enum):
    """The specification's names."""

    PID = "pid"
    NETWORK = "network"
    MOUNT = "mount"
    IPC = "ipc"
    UTS = "uts"
    USER = "user"
    CGROUP = "cgroup"
    TIME = "time"


class Namespace(Document, frozen=True):
    """A new namespace, or that of `path`."""

    type: NamespaceType
    path: str = ""


class Device(Document, frozen=True):
    """A node to make; `type` is c, b, u or p; `file_mode` may be absent (then 0666)."""

    path: str
    type: str
    major: UInt32 = 0
    minor: UInt32 = 0
    file_mode: UInt32 | None = None
    uid: UInt32 | None = None
    gid: UInt32 | None = None


class NetDevice(Document, frozen=True):
    """A network device of the runtime namespace that moves in; `name` is its name inside, empty for the same."""

    name: str = ""


class TimeOffset(Document, frozen=True):
    """Added to a clock in the container."""

    secs: Int64 = 0
    nanosecs: UInt32 = 0


class Personality(Document, frozen=True):
    """personality(2): domain LINUX or LINUX32."""

    domain: str
    flags: tuple[str, ...] = ()


class MemoryPolicy(Document, frozen=True):
    """set_mempolicy(2): mode MPOL_…, node list such as 0-1, flags MPOL_F_…."""

    mode: str
    nodes: str = ""
    flags: tuple[str, ...] = ()


class IntelRdt(Document, frozen=True):
    """resctrl: the class of service the container joins or owns."""

    clos_id: str = msgspec.field(default="", name="closID")
    schemata: tuple[str, ...] = ()
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    enable_monitoring: bool = False
    enable_cmt: bool = msgspec.field(default=False, name="enableCMT")
    enable_mbm: bool = msgspec.field(default=False, name="enableMBM")


class Linux(Document, frozen=True):
    """All of `linux`."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    time_offsets: dict[str, TimeOffset] = msgspec.field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    net_devices: dict[str, NetDevice] = msgspec.field(default_factory=dict)
    cgroups_path: str = ""
    resources: resources_.Resources | None = None
    rootfs_propagation: str = ""
    seccomp: seccomp_.Seccomp | None = None
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    personality: Personality | None = None
    memory_policy: MemoryPolicy | None = None
    intel_rdt: IntelRdt | None = None
    sysctl: dict[str, str] = msgspec.field(default_factory=dict)
