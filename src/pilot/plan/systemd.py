"""What systemd is told about a container's unit, for the systemd cgroup driver.

systemd writes limits of its units again whenever it reloads, so those that it has a property for are given to it as
well as being written by us (`plan.cgroup`). Device rules and the rest are ours alone: the scope is delegated.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..spec.resources import Cpu, Memory, Resources
from . import cgroup
from .cgroup import Unit

_UNLIMITED = (1 << 64) - 1
_STEP_US = 10_000


class Property(msgspec.Struct, frozen=True):
    """A property of a unit: its name, D-Bus signature and value."""

    name: str
    signature: str
    value: str | bool | int | tuple[int | str, ...]


def plan_properties(
    unit: Unit, container_id: str, resources: Resources | None, pids: tuple[int, ...]
) -> list[Property]:
    """Properties of a transient unit that has `pids` from the start; a scope must have at least one."""
    placed = Property("Wants", "as", (unit.slice,)) if unit.name.endswith(".slice") else None
    head = [
        Property("Description", "s", f"pilot container {container_id}"),
        placed or Property("Slice", "s", unit.slice),
        Property("DefaultDependencies", "b", False),
        *(Property(f"{kind}Accounting", "b", True) for kind in ("Memory", "CPU", "Tasks", "IO")),
    ]
    if placed is None:
        head += [Property("Delegate", "b", True), Property("PIDs", "au", pids)]
    return [*head, *_limits(resources or Resources())]


def _limits(resources: Resources) -> Iterator[Property]:
    memory, cpu = resources.memory or Memory(), resources.cpu or Cpu()
    for name, number in (
        ("MemoryMax", memory.limit),
        ("MemoryLow", memory.reservation),
        ("TasksMax", resources.pids.limit if resources.pids else None),
    ):
        if number:
            yield Property(name, "t", number if number > 0 else _UNLIMITED)
    if cpu.shares:
        yield Property("CPUWeight", "t", cgroup.cpu_weight(cpu.shares))
    if cpu.quota or cpu.period:
        period = cpu.period or 100_000
        yield Property("CPUQuotaPeriodUSec", "t", period)
        yield Property("CPUQuotaPerSecUSec", "t", quota_per_second(cpu.quota, period))


def quota_per_second(quota: int | None, period: int) -> int:
    """Microseconds of CPU time per second, in steps of 10 ms, which is all that systemd keeps; rounded up."""
    if not quota or quota < 0:
        return _UNLIMITED
    return -(quota * 1_000_000 // -(period * _STEP_US)) * _STEP_US
