"""What the world may use of its machine: all but a reserve for init and agent.

Without it a world that fills a tmpfs, or forks without end, takes the machine with it: the kernel ends the agent, and
memory that no process holds stays taken. With it the kernel ends processes of the world.

    /world         held by the agent: the limits           not seen in the world, whose cgroup namespace begins below
    └ root         the world's, with the same limits       its root may raise them, and has no more for it
"""

from __future__ import annotations

import msgspec

from .. import errors
from ..kernel import cgroups, hierarchies, kernfs
from . import record_budget

RESERVE_BYTES = 96 << 20
RESERVE_PROCESSES = 512
HELD = "/world"
CGROUP = f"{HELD}/root"
Limits = dict[str, dict[str, int]]
# Of which controller: the file of v1, and of v2.
_FILES = {"memory": ("memory.limit_in_bytes", "memory.max"), "pids": ("pids.max", "pids.max")}


class Size(msgspec.Struct, frozen=True):
    """What the machine has; None where that cannot be told, or no controller could hold the world to it."""

    memory_bytes: int | None
    processes: int | None


def resources(size: Size) -> Limits:
    """`linux.resources` of the world. A small machine gives a quarter of itself away.

    What sessions have written is kept in the machine's memory, so its bound is taken from the world's.
    """
    limits: Limits = {}
    if size.memory_bytes is not None:
        reserve = RESERVE_BYTES + record_budget.most_bytes(size.memory_bytes)
        limits["memory"] = {"limit": _without(size.memory_bytes, reserve)}
    if size.processes is not None:
        limits["pids"] = {"limit": _without(size.processes, RESERVE_PROCESSES)}
    return limits


def hold(limits: Limits) -> None:
    """Make the cgroup above the world's, under these limits. `HostError` when it cannot have them."""
    group = cgroups.Cgroup.create(hierarchies.probe_hierarchies(), HELD)
    for controller, limit in limits.items():
        directory, (v1_file, v2_file) = group.directory(controller), _FILES[controller]
        path = f"{directory}/{v1_file if controller in group.paths else v2_file}"
        try:
            kernfs.write(path, str(limit["limit"]))
        except OSError as error:
            raise errors.HostError(f"limit the world: {path}: {error.strerror}") from error


def _without(total: int, reserve: int) -> int:
    return total - min(reserve, total // 4)


def probe_size() -> Size:
    """Asked of the machine's own cgroup, the root of what is seen here, and of the kernel."""
    found = hierarchies.probe_hierarchies()
    paths = found.paths("/")
    memory = [_total_memory(), *_limits(paths, "memory")]
    processes = [int(kernfs.read("/proc/sys/kernel/threads-max")), *_limits(paths, "pids")]
    return Size(
        memory_bytes=min(memory) if "memory" in found.controllers else None,
        processes=min(processes) if "pids" in found.controllers else None,
    )


def _limits(paths: dict[str, str], controller: str) -> list[int]:
    v1_file, v2_file = _FILES[controller]
    path = f"{paths[controller]}/{v1_file}" if controller in paths else f"{paths.get('', '')}/{v2_file}"
    text = kernfs.read_or_none(path) or "max"
    return [int(text)] if text.isdigit() else []


def _total_memory() -> int:
    fields = kernfs.read("/proc/meminfo").splitlines()
    kib = next(line.split()[1] for line in fields if line.startswith("MemTotal:"))
    return int(kib) << 10
