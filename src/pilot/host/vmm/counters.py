"""What a cgroup has counted → what a machine has used."""

from __future__ import annotations

from ...kernel.cgroup_stats import Stats
from . import Usage


def usage_of(stats: Stats) -> Usage:
    memory = stats.memory.usage
    return Usage(
        cpu_s=round(stats.cpu.usage.total / 1e9, 3),
        memory_bytes=memory.usage,
        memory_peak_bytes=max(memory.max, memory.usage),
        processes=stats.pids.current,
    )
