"""Bodies of the pilot API that tell facts of the machine: what it has and uses, and its network."""

from __future__ import annotations

import msgspec

from .schema import Port


class MemoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, by the names of /proc/meminfo. `mem_total` is no more than the machine's limit, `mem_free` and
    `mem_available` what is left of it."""

    mem_total: int
    mem_free: int
    mem_available: int
    buffers: int
    cached: int
    swap_cached: int
    active: int
    inactive: int
    swap_total: int
    swap_free: int
    dirty: int
    writeback: int
    slab: int
    shmem: int
    vmalloc_total: int
    vmalloc_used: int
    vmalloc_chunk: int


class CpuFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds since boot."""

    user: float
    nice: float
    system: float
    idle: float
    iowait: float
    irq: float
    softirq: float
    steal: float
    guest: float
    guest_nice: float


class DiskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since boot of a drive of a virtual machine; times in milliseconds."""

    name: str
    reads_completed: int
    reads_merged: int
    sectors_read: int
    time_reading: int
    writes_completed: int
    writes_merged: int
    sectors_written: int
    time_writing: int
    io_in_progress: int
    time_io: int
    time_io_weighted: int


class NetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the interface has been there."""

    name: str
    recv_bytes: int
    recv_packets: int
    recv_errs: int
    recv_drop: int
    recv_fifo: int
    recv_frame: int
    recv_compressed: int
    recv_multicast: int
    sent_bytes: int
    sent_packets: int
    sent_errs: int
    sent_drop: int
    sent_fifo: int
    sent_colls: int
    sent_carrier: int
    sent_compressed: int


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Open files of the kernel, and how many there may be."""

    allocated: int
    maximum: int


class Sysinfo(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/sysinfo: the names that the init before this one had, and that platforms publish as metrics."""

    memory: MemoryFacts
    load_average: list[float]
    cpus: dict[str, CpuFacts]
    disks: list[DiskFacts]
    net: list[NetFacts]
    filefd: FileFacts


class ProcessFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the machine, containers' too, as the machine sees it; of its command line the beginning."""

    pid: int
    parent: int
    state: str
    memory_bytes: int
    command: str


class AgentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The agent itself: what its threads and tasks are at, the innermost call first."""

    pid: int
    version: str
    descriptors: int
    threads: dict[str, list[str]]
    tasks: dict[str, list[str]]


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/diagnostics: what an operator asks for first, all of one moment. `kernel_log`: its newest lines, of a
    virtual machine; a container's is its host's to read."""

    time: str
    kernel: str
    uptime_s: float
    agent: AgentFacts
    processes: list[ProcessFacts]
    mounts: list[str]
    limits: dict[str, str]
    kernel_log: list[str]


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """A link of the machine, and its addresses with their prefix."""

    name: str
    index: int
    up: bool
    mtu: int
    hardware_address: str
    addresses: list[str]


class RouteRow(msgspec.Struct, frozen=True, kw_only=True):
    """A route; `gateway` None: the destination is on the link itself."""

    destination: str
    interface: str
    gateway: str | None = None
    metric: int = 0


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/network: all containers of the machine share it. `ports` are TCP ports that something listens on."""

    interfaces: list[Interface]
    routes: list[RouteRow]
    ports: list[Port]
