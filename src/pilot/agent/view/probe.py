"""The world's cgroups → Facts. What a kernel does not count is 0."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from ...kernel import hierarchies, kernfs, process
from .. import world_limits
from .facts import Facts, Memory, Processor

# Our word: of v1, and of v2.
_MEMORY: Mapping[str, tuple[str, str]] = {
    "file": ("total_cache", "file"),
    "shmem": ("total_shmem", "shmem"),
    "anon": ("total_rss", "anon"),
    "mapped": ("total_mapped_file", "file_mapped"),
    "active_anon": ("total_active_anon", "active_anon"),
    "inactive_anon": ("total_inactive_anon", "inactive_anon"),
    "active_file": ("total_active_file", "active_file"),
    "inactive_file": ("total_inactive_file", "inactive_file"),
    "unevictable": ("total_unevictable", "unevictable"),
    "dirty": ("total_dirty", "file_dirty"),
    "writeback": ("total_writeback", "file_writeback"),
    "slab_reclaimable": ("", "slab_reclaimable"),
    "slab_unreclaimable": ("", "slab_unreclaimable"),
    "kernel_stack": ("", "kernel_stack"),
    "page_tables": ("", "pagetables"),
}
_HZ = os.sysconf("SC_CLK_TCK")


def probe(pid: int) -> Facts:
    """Of the world whose first process is `pid`. OSError when it has just ended."""
    paths = hierarchies.probe_hierarchies().paths(world_limits.HELD)
    return Facts(
        memory=_memory(paths),
        processor=_processor(paths, pid),
        processes=_number(_file(paths, "pids", "pids.current")),
        now_s=time.time(),
    )


def _memory(paths: Mapping[str, str]) -> Memory | None:
    limits = world_limits.held() or {}
    if "memory" not in limits:
        return None
    version = 0 if "memory" in paths else 1
    usage = ("memory.usage_in_bytes", "memory.current")[version]
    table = kernfs.parse_table(_text(_file(paths, "memory", "memory.stat")))
    counted = {ours: table.get(theirs[version], 0) for ours, theirs in _MEMORY.items()}
    return Memory(limit=limits["memory"]["limit"], used=_number(_file(paths, "memory", usage)), **counted)


def _processor(paths: Mapping[str, str], pid: int) -> Processor:
    begun = process.start_time(pid)
    if not begun:
        raise ProcessLookupError(f"process {pid} has ended")
    user_s, system_s = _used(paths)
    return Processor(
        numbers=tuple(sorted(os.sched_getaffinity(0))),
        user_s=user_s,
        system_s=system_s,
        up_s=time.clock_gettime(time.CLOCK_BOOTTIME) - begun / _HZ,
    )


def _used(paths: Mapping[str, str]) -> tuple[float, float]:
    if "cpuacct" in paths:
        table = kernfs.parse_table(_text(f"{paths['cpuacct']}/cpuacct.stat"))
        return table.get("user", 0) / _HZ, table.get("system", 0) / _HZ
    table = kernfs.parse_table(_text(f"{paths.get('', '')}/cpu.stat"))
    return table.get("user_usec", 0) / 1e6, table.get("system_usec", 0) / 1e6


def _file(paths: Mapping[str, str], controller: str, name: str) -> str:
    return f"{paths.get(controller, paths.get('', ''))}/{name}"


def _number(path: str) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _text(path: str) -> str:
    return kernfs.read_or_none(path) or ""
