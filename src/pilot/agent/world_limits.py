"""What the world may use of its machine: all but a reserve for init and agent.

Without it a world that fills a tmpfs, or forks without end, takes the machine with it: the kernel ends the agent, and
memory that no process holds stays taken. With it the kernel ends processes of the world.

    /world         held by the agent: the limits           not seen in the world, whose cgroup namespace begins below
    └ root         the world's, with the same limits       its root may raise them, and has no more for it

The machine's size may change while the world runs: then it is held to what there is by now (`World.fit`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

import msgspec

from .. import errors
from ..kernel import cgroups, hierarchies, kernfs
from . import record_budget

RESERVE_BYTES = 96 << 20
RESERVE_PROCESSES = 512
MOST_CGROUPS = 1024  # below the world's: each costs the kernel memory and time that no controller counts
HELD = "/world"
CGROUP = f"{HELD}/root"
NOBODYS = 65536  # an id of the machine that no world has (`host.vmm.container.spec`)
_log = logging.getLogger(__name__)
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
    """Make the cgroup above the world's, under these limits. `HostError` when it cannot have them.

    How many cgroups there may be below is v2's to say; in v1 nothing bounds them.
    """
    group = cgroups.Cgroup.create(hierarchies.probe_hierarchies(), HELD)
    for controller, limit in limits.items():
        directory, (v1_file, v2_file) = group.directory(controller), _FILES[controller]
        _limit(f"{directory}/{v1_file if controller in group.paths else v2_file}", limit["limit"])
    if unified := group.paths.get(""):
        _limit(f"{unified}/cgroup.max.descendants", MOST_CGROUPS)


def find_withheld(controllers: Iterable[str]) -> list[str]:
    """Those of them that are of cgroup v1 here: in v2 the number of cgroups is bounded."""
    return [controller for controller in controllers if controller in hierarchies.probe_hierarchies().paths("/")]


def withhold(controllers: Iterable[str]) -> None:
    """The world, which is made and has not begun, makes no cgroups in their hierarchies, wherever it mounts them: its
    directory there is somebody's whom it does not know, so that its root is not its owner. Its limits stay its own."""
    for controller in controllers:
        directory = hierarchies.probe_hierarchies().paths(CGROUP)[controller]
        try:
            os.chown(directory, NOBODYS, NOBODYS)
        except OSError as error:
            # A machine that an earlier build has started has no such id: there it is as it was in that build.
            _log.warning("cgroups of %s not withheld from the world: %s: %s", controller, directory, error.strerror)


def _limit(path: str, value: int) -> None:
    try:
        kernfs.write(path, str(value))
    except OSError as error:
        raise errors.HostError(f"limit the world: {path}: {error.strerror}") from error


def held() -> Limits | None:
    """As they are in force, whole pages of memory; None where no world is held."""
    group = cgroups.Cgroup(hierarchies.probe_hierarchies().paths(HELD))
    if not group.exists():
        return None
    found = {controller: _limits(dict(group.paths), controller) for controller in _FILES}
    return {controller: {"limit": limits[0]} for controller, limits in found.items() if limits}


def in_pages(limits: Limits) -> Limits:
    """As the kernel keeps them."""
    return limits | {"memory": {"limit": _whole_pages(limits["memory"]["limit"])}} if "memory" in limits else limits


def check_use(limits: Limits) -> None:
    """`HostError` when the world could not be held to them without an end of some of its processes."""
    group = cgroups.Cgroup(hierarchies.probe_hierarchies().paths(HELD))
    directory = group.directory("memory")
    if directory is None or "memory" in group.paths or "memory" not in limits:
        return  # v1 refuses by itself what it cannot give back
    table = kernfs.parse_table(kernfs.read(f"{directory}/memory.stat"))
    used = int(kernfs.read(f"{directory}/memory.current")) - table["active_file"] - table["inactive_file"]
    if used > limits["memory"]["limit"]:
        raise errors.HostError(f"limit the world to {limits['memory']['limit']} bytes: {used} are in use")


def _whole_pages(size_bytes: int) -> int:
    return size_bytes - size_bytes % os.sysconf("SC_PAGESIZE")


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
