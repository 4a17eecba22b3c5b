"""What systemd is told about a container's unit, for the systemd cgroup driver.

systemd writes limits of its units again whenever it reloads, so those that it has a property for are given to it as
well as being written by us (`plan.cgroup`): what it does not know of, it would set back to none. Device rules and the
rest, which it has no file of its own for, are ours alone: the scope is delegated. Cpusets need systemd 244.

Annotations `org.systemd.property.NAME` are properties of the unit, too, as in runc: a value in GVariant's text form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from .. import errors
from ..spec.features import SYSTEMD_ANNOTATION
from ..spec.resources import BlockIO, Cpu, Memory, Pids, Resources
from . import cgroup, gvariant, identity
from .cgroup import Unit

_UNLIMITED = (1 << 64) - 1
_STEP_US = 10_000
_PROPERTY = re.compile(r"[A-Za-z]{3,}")
_SECONDS = re.compile(r"(.*[a-z])Sec")


class Property(msgspec.Struct, frozen=True):
    """A property of a unit: its name, D-Bus signature and value."""

    name: str
    signature: str
    value: gvariant.Value | bytes


def plan_properties(
    unit: Unit, container_id: str, resources: Resources | None, pids: tuple[int, ...], annotations: Mapping[str, str]
) -> list[Property]:
    """Properties of a transient unit that has `pids` from the start; a scope must have at least one.

    Where one is there twice the last counts. SpecError for an annotation that is none.
    """
    placed = Property("Wants", "as", (unit.slice,)) if unit.name.endswith(".slice") else None
    head = [
        Property("Description", "s", f"pilot container {container_id}"),
        placed or Property("Slice", "s", unit.slice),
        Property("DefaultDependencies", "b", False),
        *(Property(f"{kind}Accounting", "b", True) for kind in ("Memory", "CPU", "Tasks", "IO")),
    ]
    if placed is None:
        head += [Property("Delegate", "b", True), Property("PIDs", "au", pids)]
    return [*head, *_annotated(annotations), *plan_limits(resources or Resources())]


def plan_limits(resources: Resources) -> list[Property]:
    """The limits alone, for a unit that is there. `unified` comes last, as it does in the files."""
    return [*_sizes(resources), *_cpu(resources.cpu or Cpu()), *_unified(resources)]


def _annotated(annotations: Mapping[str, str]) -> Iterator[Property]:
    for key, text in annotations.items():
        if not key.startswith(SYSTEMD_ANNOTATION):
            continue
        path, name = f"$.annotations.{key}", key.removeprefix(SYSTEMD_ANNOTATION)
        if _PROPERTY.fullmatch(name) is None:
            raise errors.SpecError(path, "the name of a property has at least three letters, and nothing else")
        try:
            yield _property(name, gvariant.parse(text))
        except ValueError as error:
            raise errors.SpecError(path, f"{text!r}: {error}") from error


def _property(name: str, found: gvariant.Variant) -> Property:
    """Times that systemd's manual calls by seconds it wants in microseconds, and by another name."""
    seconds = _SECONDS.fullmatch(name)
    if seconds is None:
        return Property(name, found.signature, found.value)
    if isinstance(found.value, bool | str | tuple):
        raise ValueError("not a number")
    if not 0 <= found.value * 1_000_000 <= _UNLIMITED:
        raise ValueError("not a time")
    return Property(f"{seconds[1]}USec", "t", int(found.value * 1_000_000))


def _sizes(resources: Resources) -> Iterator[Property]:
    memory, block = resources.memory or Memory(), resources.block_io or BlockIO()
    for name, number in (
        ("MemoryMax", memory.limit),
        ("MemoryLow", memory.reservation),
        ("TasksMax", _tasks(resources.pids)),
        ("IOWeight", cgroup.io_weight(block.weight) if block.weight else None),
    ):
        if number:
            yield Property(name, "t", number if number > 0 else _UNLIMITED)
    swap = cgroup.swap_limit(memory.swap, memory.limit)
    if swap is not None:
        yield Property("MemorySwapMax", "t", swap if swap >= 0 else _UNLIMITED)


def _tasks(pids: Pids | None) -> int | None:
    return None if pids is None or pids.limit is None else cgroup.least_tasks(pids.limit) if pids.limit >= 0 else -1


def _cpu(cpu: Cpu) -> Iterator[Property]:
    if cpu.shares or cpu.idle:
        yield Property("CPUWeight", "t", 0 if cpu.idle else cgroup.cpu_weight(cpu.shares or 0))
    for name, text, path in (("AllowedCPUs", cpu.cpus, "cpus"), ("AllowedMemoryNodes", cpu.mems, "mems")):
        if text:
            yield Property(name, "ay", _mask(text, f"$.linux.resources.cpu.{path}"))
    if cpu.quota or cpu.period:
        period = cpu.period or 100_000
        yield Property("CPUQuotaPeriodUSec", "t", period)
        yield Property("CPUQuotaPerSecUSec", "t", quota_per_second(cpu.quota, period))


def quota_per_second(quota: int | None, period: int) -> int:
    """Microseconds of CPU time per second, in steps of 10 ms, which is all that systemd keeps; rounded up."""
    if not quota or quota < 0:
        return _UNLIMITED
    return -(quota * 1_000_000 // -(period * _STEP_US)) * _STEP_US


def _mask(text: str, path: str) -> bytes:
    """A list such as 0-3,7 → one bit each, the lowest first."""
    bits = sum(1 << number for number in identity.parse_cpus(text, path))
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


# Files of cgroup v2 that hold one number or `max`, and the property of each.
_NUMBERS = {
    "cpu.weight": "CPUWeight",
    "io.weight": "IOWeight",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.max": "MemoryMax",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}
_SETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}


def _unified(resources: Resources) -> Iterator[Property]:
    for file, text in resources.unified.items():
        value = text.strip().removeprefix("default ")
        if file in _NUMBERS and (value == "max" or value.isdigit()):
            yield Property(_NUMBERS[file], "t", _UNLIMITED if value == "max" else int(value))
        elif file in _SETS:
            yield Property(_SETS[file], "ay", _mask(value, f"$.linux.resources.unified.{file}"))
        elif file == "cpu.max":
            quota, _, period = value.partition(" ")
            yield from _cpu(Cpu(quota=int(quota) if quota.isdigit() else -1, period=int(period or 0) or None))
