"""What the machine has and uses, from the texts of /proc: under the names that are published as metrics.

Pure but for `read`. In a container /proc/meminfo is the host's, so memory is told of the machine's own cgroup there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from ..kernel import hierarchies, kernfs
from ..wire import facts

_HZ = os.sysconf("SC_CLK_TCK")
_CPU = tuple(facts.CpuFacts.__struct_fields__)
_DISK = tuple(facts.DiskFacts.__struct_fields__)[1:]
_NET = tuple(facts.NetFacts.__struct_fields__)[1:]
_MEMORY: Mapping[str, str] = {
    "MemTotal": "mem_total", "MemFree": "mem_free", "MemAvailable": "mem_available", "Buffers": "buffers",
    "Cached": "cached", "SwapCached": "swap_cached", "Active": "active", "Inactive": "inactive",
    "SwapTotal": "swap_total", "SwapFree": "swap_free", "Dirty": "dirty", "Writeback": "writeback", "Slab": "slab",
    "Shmem": "shmem", "VmallocTotal": "vmalloc_total", "VmallocUsed": "vmalloc_used", "VmallocChunk": "vmalloc_chunk",
}  # fmt: skip


def read(memory_bytes: int | None) -> facts.Sysinfo:
    """Of this machine, which has so much memory, if that is less than the kernel has. Blocks for a moment."""
    memory = parse_memory(kernfs.read("/proc/meminfo"))
    if memory_bytes is not None and memory_bytes < memory.mem_total:
        memory = within(memory, memory_bytes, _used_bytes())
    return facts.Sysinfo(
        memory=memory,
        load_average=[float(word) for word in kernfs.read("/proc/loadavg").split()[:3]],
        cpus=parse_cpus(kernfs.read("/proc/stat")),
        disks=parse_disks(kernfs.read("/proc/diskstats")),
        net=parse_net(kernfs.read("/proc/self/net/dev")),
        filefd=parse_files(kernfs.read("/proc/sys/fs/file-nr")),
    )


def parse_memory(text: str) -> facts.MemoryFacts:
    """/proc/meminfo; what this kernel does not tell is 0."""
    rows = (line.split() for line in text.splitlines())
    found = {row[0].rstrip(":"): int(row[1]) << 10 for row in rows if len(row) > 1}
    return facts.MemoryFacts(**{ours: found.get(theirs, 0) for theirs, ours in _MEMORY.items()})


def within(memory: facts.MemoryFacts, limit_bytes: int, used_bytes: int) -> facts.MemoryFacts:
    """The same, for who has only so much of it."""
    left = max(0, limit_bytes - used_bytes)
    return msgspec.structs.replace(
        memory,
        mem_total=limit_bytes,
        mem_free=min(left, memory.mem_free),
        mem_available=min(left, memory.mem_available),
    )


def parse_cpus(text: str) -> dict[str, facts.CpuFacts]:
    """/proc/stat: each processor by its number."""
    rows = [line.split() for line in text.splitlines() if line.startswith("cpu") and not line.startswith("cpu ")]
    return {
        row[0].removeprefix("cpu"): facts.CpuFacts(
            **dict(zip(_CPU, (int(ticks) / _HZ for ticks in row[1:]), strict=False))
        )
        for row in rows
        if len(row) > len(_CPU)
    }


def parse_disks(text: str) -> list[facts.DiskFacts]:
    """/proc/diskstats: whole virtio drives."""
    rows = [line.split() for line in text.splitlines()]
    return [
        facts.DiskFacts(name=row[2], **dict(zip(_DISK, map(int, row[3:]), strict=False)))
        for row in rows
        if len(row) >= 3 + len(_DISK) and row[2].startswith("vd") and row[2].isalpha()
    ]


def parse_net(text: str) -> list[facts.NetFacts]:
    """/proc/net/dev: all but the loopback."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            found.append(facts.NetFacts(name=name.strip(), **dict(zip(_NET, map(int, numbers.split()), strict=True))))
    return found


def parse_files(text: str) -> facts.FileFacts:
    """/proc/sys/fs/file-nr."""
    allocated, _, maximum = map(int, text.split())
    return facts.FileFacts(allocated=allocated, maximum=maximum)


def _used_bytes() -> int:
    """Of the machine's own cgroup, the root of what is seen here."""
    paths = hierarchies.probe_hierarchies().paths("/")
    v1 = f"{paths['memory']}/memory.usage_in_bytes" if "memory" in paths else ""
    text = (kernfs.read_or_none(v1) if v1 else None) or kernfs.read_or_none(f"{paths.get('', '')}/memory.current")
    return int(text or 0)
