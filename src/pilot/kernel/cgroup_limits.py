"""Limits as the files of a cgroup have them now, for updates that change one of two that belong together.

    v1   cpu.cfs_quota_us, cpu.cfs_period_us        v2   cpu.max: "QUOTA PERIOD"   memory.max

v1's memory.memsw.limit_in_bytes counts memory and swap together, as `linux.resources` does: nothing is to be added.
"""

from __future__ import annotations

import os

from ..plan.cgroup import Current
from . import kernfs

_NONE = -1


def read_current(cpu: str | None, memory: str | None) -> Current:
    """From the directories of the two controllers; what is not there is None."""
    quota, period = _read_cpu(cpu) if cpu is not None else (None, None)
    if memory is None:
        return Current(quota, period)
    return Current(quota, period, _read(memory, "memory.max"))


def _read_cpu(directory: str) -> tuple[int | None, int | None]:
    words = (kernfs.read_or_none(os.path.join(directory, "cpu.max")) or "").split()
    if len(words) == 2:
        return parse_limit(words[0]), int(words[1])
    return _read(directory, "cpu.cfs_quota_us"), _read(directory, "cpu.cfs_period_us")


def _read(directory: str, file: str) -> int | None:
    text = kernfs.read_or_none(os.path.join(directory, file))
    return None if text is None else parse_limit(text)


def parse_limit(text: str) -> int:
    """A number, or `max`, which is -1."""
    return _NONE if text == "max" else int(text)
