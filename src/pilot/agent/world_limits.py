"""What the world may use of its machine: all but a reserve for init and agent.

Without it a world that fills a tmpfs, or forks without end, takes the machine with it: the kernel ends the agent, and
memory that no process holds stays taken. With it the kernel ends processes of the world. It is no wall (root of the
world owns its cgroup, as far as the kernel is concerned); the machine's own limits, which the host sets, are.
"""

from __future__ import annotations

import msgspec

from ..kernel import hierarchies, kernfs
from . import record_budget

RESERVE_BYTES = 96 << 20
RESERVE_PROCESSES = 512


class Size(msgspec.Struct, frozen=True):
    """What the machine has; None where that cannot be told, or no controller could hold the world to it."""

    memory_bytes: int | None
    processes: int | None


def resources(size: Size) -> dict[str, object]:
    """`linux.resources` of the world. A small machine gives a quarter of itself away.

    What sessions have written is kept in the machine's memory, so its bound is taken from the world's.
    """
    limits: dict[str, object] = {}
    if size.memory_bytes is not None:
        reserve = RESERVE_BYTES + record_budget.most_bytes(size.memory_bytes)
        limits["memory"] = {"limit": _without(size.memory_bytes, reserve)}
    if size.processes is not None:
        limits["pids"] = {"limit": _without(size.processes, RESERVE_PROCESSES)}
    return limits


def _without(total: int, reserve: int) -> int:
    return total - min(reserve, total // 4)


def probe_size() -> Size:
    """Asked of the machine's own cgroup, the root of what is seen here, and of the kernel."""
    found = hierarchies.probe_hierarchies()
    paths = found.paths("/")
    memory = [_total_memory(), *_limits(paths, "memory", "memory.limit_in_bytes", "memory.max")]
    processes = [int(kernfs.read("/proc/sys/kernel/threads-max")), *_limits(paths, "pids", "pids.max", "pids.max")]
    return Size(
        memory_bytes=min(memory) if "memory" in found.controllers else None,
        processes=min(processes) if "pids" in found.controllers else None,
    )


def _limits(paths: dict[str, str], controller: str, v1_file: str, v2_file: str) -> list[int]:
    path = f"{paths[controller]}/{v1_file}" if controller in paths else f"{paths.get('', '')}/{v2_file}"
    text = kernfs.read_or_none(path) or "max"
    return [int(text)] if text.isdigit() else []


def _total_memory() -> int:
    fields = kernfs.read("/proc/meminfo").splitlines()
    kib = next(line.split()[1] for line in fields if line.startswith("MemTotal:"))
    return int(kib) << 10
