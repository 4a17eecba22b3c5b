"""What a cgroup has used, as one document: the `data` of `events --stats`, in the names that its readers know.

`msgspec.json.encode(stats)` is that document. Files that this kernel or this layout does not have leave their member
at its default; times are nanoseconds, sizes bytes, as the readers expect whatever the cgroup version counts in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import msgspec

from . import kernfs

_T = TypeVar("_T")
_P = TypeVar("_P", "Cpu", "Memory", "Blkio")
_NO_LIMIT = (1 << 64) - 1
_CLOCK_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    """An object of the document."""


class Pressure(_Document, frozen=True):
    """One line of a PSI file: shares of time in percent, and the total in microseconds."""

    avg10: float
    avg60: float
    avg300: float
    total: int


class Psi(_Document, frozen=True):
    """Some or all tasks had to wait for the resource."""

    some: Pressure | None = None
    full: Pressure | None = None


class CpuUsage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nanoseconds."""

    total: int = 0
    percpu: list[int] = []
    percpu_kernel: list[int] = []
    percpu_user: list[int] = []
    kernel: int | None = None
    user: int | None = None


class Throttling(_Document, frozen=True, omit_defaults=True):
    """How often the quota was used up, and for how many nanoseconds altogether."""

    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class Cpu(_Document, frozen=True):
    """Time used, and time waited."""

    usage: CpuUsage = CpuUsage()
    throttling: Throttling = Throttling()
    psi: Psi | msgspec.UnsetType = msgspec.UNSET


class CpuSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """What it may run on."""

    cpus: list[int] = []
    mems: list[int] = []
    cpu_exclusive: int | None = None
    mem_hardwall: int | None = None
    mem_exclusive: int | None = None
    memory_migrate: int | None = None
    memory_spread_page: int | None = None
    memory_spread_slab: int | None = None
    memory_pressure: int | None = None
    sched_load_balance: int | None = None
    sched_relax_domain_level: int | None = None


class MemoryEntry(_Document, frozen=True):
    """Bytes; a limit of 2^64 - 1 is none."""

    limit: int = 0
    usage: int = 0
    max: int = 0
    failcnt: int = 0


class Memory(msgspec.Struct, frozen=True):
    """`swap` counts memory and swap together, for v2 too."""

    cache: int = 0
    usage: MemoryEntry = MemoryEntry()
    swap: MemoryEntry = MemoryEntry()
    kernel: MemoryEntry = MemoryEntry()
    kernel_tcp: MemoryEntry = msgspec.field(default=MemoryEntry(), name="kernelTCP")
    raw: dict[str, int] = {}
    psi: Psi | msgspec.UnsetType = msgspec.UNSET


class Pids(_Document, frozen=True, omit_defaults=True):
    """Tasks; a limit of 0 is none."""

    current: int = 0
    limit: int = 0


class BlkioEntry(_Document, frozen=True, omit_defaults=True):
    """A count of one device and one kind of operation."""

    major: int = 0
    minor: int = 0
    op: str = ""
    value: int = 0


class Blkio(_Document, frozen=True, omit_defaults=True):
    """Bytes and numbers of operations."""

    io_service_bytes_recursive: list[BlkioEntry] = []
    io_serviced_recursive: list[BlkioEntry] = []
    io_queue_recursive: list[BlkioEntry] = []
    io_service_time_recursive: list[BlkioEntry] = []
    io_wait_time_recursive: list[BlkioEntry] = []
    io_merged_recursive: list[BlkioEntry] = []
    io_time_recursive: list[BlkioEntry] = []
    sectors_recursive: list[BlkioEntry] = []
    psi: Psi | msgspec.UnsetType = msgspec.UNSET


class Hugetlb(_Document, frozen=True):
    """Bytes of one page size."""

    usage: int = 0
    max: int = 0
    failcnt: int = 0


class Stats(msgspec.Struct, frozen=True):
    """All of it."""

    cpu: Cpu = Cpu()
    cpuset: CpuSet = CpuSet()
    memory: Memory = Memory()
    pids: Pids = Pids()
    blkio: Blkio = Blkio()
    hugetlb: dict[str, Hugetlb] = {}
    network_interfaces: None = None  # of links that the runtime itself makes: runc has none either, and says so


class _Files:
    """The files of one controller's directory; an absent one is empty."""

    def __init__(self, directory: str | None) -> None:
        self.directory = directory

    def text(self, name: str) -> str:
        return "" if self.directory is None else kernfs.read_or_none(os.path.join(self.directory, name)) or ""

    def number(self, name: str) -> int:
        text = self.text(name)
        return _NO_LIMIT if text == "max" else int(text or "0")

    def optional(self, name: str) -> int | None:
        text = self.text(name)
        return int(text) if text else None

    def numbers(self, name: str) -> list[int]:
        return [int(word) for word in self.text(name).split()]

    def table(self, name: str) -> dict[str, int]:
        return kernfs.parse_table(self.text(name))

    def names(self) -> list[str]:
        return [] if self.directory is None or not os.path.isdir(self.directory) else os.listdir(self.directory)


_Reader = Callable[[_Files], _T]


def read_stats(paths: Mapping[str, str]) -> Stats:
    """Statistics of the cgroup of `paths`; one that is gone has none."""
    unified = _Files(paths.get(""))
    accounting = _Files(paths.get("cpuacct"))

    def read(controller: str, v1: _Reader[_T], v2: _Reader[_T]) -> _T:
        return v1(_Files(paths[controller])) if controller in paths else v2(unified)

    # Stall information is a matter of the v2 tree, whoever has the controller.
    return Stats(
        cpu=_with_psi(read("cpu", lambda files: _v1_cpu(files, accounting), _v2_cpu), unified, "cpu"),
        cpuset=read("cpuset", _v1_cpuset, _v2_cpuset),
        memory=_with_psi(read("memory", _v1_memory, _v2_memory), unified, "memory"),
        pids=read("pids", _pids, _pids),
        blkio=_with_psi(read("blkio", _v1_blkio, _v2_blkio), unified, "io"),
        hugetlb=read("hugetlb", _v1_hugetlb, _v2_hugetlb),
    )


# ---- cpu --------------------------------------------------------------------------------------------------------


def _v1_cpu(files: _Files, accounting: _Files) -> Cpu:
    ticks = accounting.table("cpuacct.stat")
    per_cpu = [line.split() for line in accounting.text("cpuacct.usage_all").splitlines()[1:]]
    throttling = files.table("cpu.stat")
    return Cpu(
        usage=CpuUsage(
            total=accounting.number("cpuacct.usage"),
            percpu=accounting.numbers("cpuacct.usage_percpu"),
            percpu_kernel=[int(system) for _, _, system in per_cpu],
            percpu_user=[int(user) for _, user, _ in per_cpu],
            kernel=ticks.get("system", 0) * _CLOCK_TICK_NS,
            user=ticks.get("user", 0) * _CLOCK_TICK_NS,
        ),
        throttling=Throttling(
            throttling.get("nr_periods", 0), throttling.get("nr_throttled", 0), throttling.get("throttled_time", 0)
        ),
    )


def _v2_cpu(files: _Files) -> Cpu:
    stat = files.table("cpu.stat")
    used = {name: stat.get(f"{name}_usec", 0) * 1000 for name in ("usage", "system", "user", "throttled")}
    return Cpu(
        usage=CpuUsage(total=used["usage"], kernel=used["system"], user=used["user"]),
        throttling=Throttling(stat.get("nr_periods", 0), stat.get("nr_throttled", 0), used["throttled"]),
    )


def _v1_cpuset(files: _Files) -> CpuSet:
    flags = {name: files.optional(f"cpuset.{name}") for name in CpuSet.__struct_fields__[2:]}
    return CpuSet(parse_ranges(files.text("cpuset.cpus")), parse_ranges(files.text("cpuset.mems")), **flags)


def _v2_cpuset(files: _Files) -> CpuSet:
    cpus, mems = (files.text(f"cpuset.{name}") or files.text(f"cpuset.{name}.effective") for name in ("cpus", "mems"))
    return CpuSet(parse_ranges(cpus), parse_ranges(mems))


def parse_ranges(text: str) -> list[int]:
    """`0-2,5` → [0, 1, 2, 5]."""
    ends = [part.partition("-") for part in text.split(",") if part]
    return [number for first, _, last in ends for number in range(int(first), int(last or first) + 1)]


# ---- memory -----------------------------------------------------------------------------------------------------


def _v1_memory(files: _Files) -> Memory:
    raw = files.table("memory.stat")
    usage, swap, kernel, tcp = (_v1_entry(files, f"memory.{name}") for name in ("", "memsw.", "kmem.", "kmem.tcp."))
    return Memory(cache=raw.get("cache", 0), usage=usage, swap=swap, kernel=kernel, kernel_tcp=tcp, raw=raw)


def _v1_entry(files: _Files, prefix: str) -> MemoryEntry:
    names = ("limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt")
    return MemoryEntry(*(files.number(prefix + name) for name in names))


def _v2_memory(files: _Files) -> Memory:
    raw = files.table("memory.stat")
    usage = MemoryEntry(
        limit=files.number("memory.max"),
        usage=files.number("memory.current"),
        max=files.number("memory.peak"),
        failcnt=files.table("memory.events").get("max", 0),
    )
    limit = files.number("memory.swap.max")
    together = _NO_LIMIT if _NO_LIMIT in {limit, usage.limit} else limit + usage.limit
    swap = MemoryEntry(limit=together, usage=files.number("memory.swap.current") + usage.usage)
    return Memory(cache=raw.get("file", 0), usage=usage, swap=swap, raw=raw)


# ---- block devices, pids, huge pages ----------------------------------------------------------------------------

# Where v1 has each count: of the BFQ scheduler when it is in use, else of the throttling layer.
_V1_BLKIO = {
    "io_service_bytes_recursive": ("blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"),
    "io_serviced_recursive": ("blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive"),
    "io_queue_recursive": ("blkio.bfq.io_queued_recursive",),
    "io_service_time_recursive": ("blkio.bfq.io_service_time_recursive",),
    "io_wait_time_recursive": ("blkio.bfq.io_wait_time_recursive",),
    "io_merged_recursive": ("blkio.bfq.io_merged_recursive",),
    "io_time_recursive": ("blkio.bfq.time_recursive",),
    "sectors_recursive": ("blkio.bfq.sectors_recursive",),
}
_V2_IO = {"r": "Read", "w": "Write", "d": "Discard"}


def _v1_blkio(files: _Files) -> Blkio:
    counts = {
        field: next((entries for name in names if (entries := _v1_entries(files.text(name)))), [])
        for field, names in _V1_BLKIO.items()
    }
    return msgspec.structs.replace(Blkio(), **counts)


def _v1_entries(text: str) -> list[BlkioEntry]:
    """Lines `MAJOR:MINOR OPERATION COUNT`; the last, `Total COUNT`, is left out."""
    rows = (line.replace(":", " ").split() for line in text.splitlines())
    return [BlkioEntry(int(row[0]), int(row[1]), " ".join(row[2:-1]), int(row[-1])) for row in rows if len(row) > 2]


def _v2_blkio(files: _Files) -> Blkio:
    rows = [line.split() for line in files.text("io.stat").splitlines()]
    return Blkio(
        io_service_bytes_recursive=list(_v2_entries(rows, "bytes")),
        io_serviced_recursive=list(_v2_entries(rows, "ios")),
    )


def _v2_entries(rows: list[list[str]], unit: str) -> Iterator[BlkioEntry]:
    for device, *pairs in rows:
        major, minor = device.split(":")
        for key, _, value in (pair.partition("=") for pair in pairs):
            if key[:1] in _V2_IO and key[1:] == unit:
                yield BlkioEntry(int(major), int(minor), _V2_IO[key[0]], int(value))


def _pids(files: _Files) -> Pids:
    limit = files.number("pids.max")
    return Pids(current=files.number("pids.current"), limit=0 if limit == _NO_LIMIT else limit)


def _v1_hugetlb(files: _Files) -> dict[str, Hugetlb]:
    return {
        size: Hugetlb(
            files.number(f"hugetlb.{size}.usage_in_bytes"),
            files.number(f"hugetlb.{size}.max_usage_in_bytes"),
            files.number(f"hugetlb.{size}.failcnt"),
        )
        for size in _page_sizes(files, ".usage_in_bytes")
    }


def _v2_hugetlb(files: _Files) -> dict[str, Hugetlb]:
    return {
        size: Hugetlb(
            usage=files.number(f"hugetlb.{size}.current"),
            failcnt=files.table(f"hugetlb.{size}.events").get("max", 0),
        )
        for size in _page_sizes(files, ".current")
    }


def _page_sizes(files: _Files, suffix: str) -> list[str]:
    parts = (name.removesuffix(suffix).split(".") for name in files.names() if name.endswith(suffix))
    return sorted(part[1] for part in parts if part[0] == "hugetlb" and len(part) == 2)


# ---- stalls -----------------------------------------------------------------------------------------------------


def _with_psi(document: _P, files: _Files, resource: str) -> _P:
    psi = parse_pressure(files.text(f"{resource}.pressure"))
    return document if psi is None else msgspec.structs.replace(document, psi=psi)


def parse_pressure(text: str) -> Psi | None:
    """Lines `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`; None when there are none."""
    lines: dict[str, Pressure] = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=") for pair in pairs)
        avg10, avg60, avg300 = (float(values[f"avg{seconds}"]) for seconds in (10, 60, 300))
        lines[kind] = Pressure(avg10, avg60, avg300, int(values["total"]))
    return Psi(lines.get("some"), lines.get("full")) if lines else None
