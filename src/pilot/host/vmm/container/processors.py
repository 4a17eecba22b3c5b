"""Which of the host's processors a machine has: as many as it may keep busy, so that `nproc` in it says what is so.

Its quota alone would let it run on all of them in turn, and programs that ask how many there are would begin a thread
for each. So it gets a set of its own, of those that fewest others were given; one that may keep all busy has them all.
Sets are asked of the kernel, never remembered: two that start at once may choose the same.
"""

from __future__ import annotations

import collections
import errno
import os
from collections.abc import Iterable, Sequence

from .... import errors
from ....kernel import hierarchies, kernfs
from ....kernel.cgroup_stats import parse_ranges

_CONTROLLER = "cpuset"
_FILE = "cpuset.cpus"


def choose(count: int, all: Iterable[int], others: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """`count` of all of them, those that fewest others have, the lower number first; `others` are sets of machines."""
    every = sorted(all)
    if count >= len(every):
        return tuple(every)
    taken = collections.Counter(number for each in others for number in each)
    return tuple(sorted(sorted(every, key=lambda number: taken[number])[:count]))


def pick(group: str, machine: str, count: int) -> tuple[int, ...] | None:
    """For a machine below the cgroup `group`: what it has, if those are as many, else others. None where no controller
    could hold it to them."""
    found = hierarchies.probe_hierarchies()
    if _CONTROLLER not in found.controllers:
        return None
    top, here = _directory(found, "/"), _directory(found, group)
    every = _all((here, top))  # v1 does not give back to `here` what went and came again
    has = _set(f"{here}/{machine}")
    if len(has) == min(count, len(every)):
        return tuple(has)
    names = os.listdir(here) if os.path.isdir(here) else []
    others = [_set(f"{here}/{name}") for name in names if name != machine and os.path.isdir(f"{here}/{name}")]
    return choose(count, every, others)


def move(group: str, machine: str, wanted: Sequence[int]) -> None:
    """Of a machine that runs, at once. `HostError` when its own cgroups change meanwhile, so that it cannot be now."""
    found = hierarchies.probe_hierarchies()
    directory = _directory(found, f"{group}/{machine}")
    had, will = set(_set(directory)), set(wanted)
    if had == will:
        return
    try:
        if found.paths("/").get(_CONTROLLER):
            _move_v1(directory, had, will)
        else:
            _write(directory, will)
    except OSError as error:
        busy = error.errno in (errno.EBUSY, errno.EINVAL, errno.ENOENT)
        hint = "its own cgroups changed meanwhile: try again" if busy else None
        raise errors.HostError(f"give machine {machine} other processors: {error.strerror}", hint=hint) from error


def _move_v1(directory: str, had: set[int], will: set[int]) -> None:
    """A v1 cpuset has to hold all that those below it have: first each has both, from the top, then what it keeps."""
    targets = {directory: will}
    for below, _, _ in os.walk(directory):
        has = set(_set(below))
        above = targets.get(os.path.dirname(below), will)
        # What somebody inside has narrowed stays narrow, as far as that goes; what was all of it is all of it.
        targets[below] = above if has == had or below == directory else (has & will) or above
        _write(below, has | targets[below])
    for below in reversed(targets):
        _write(below, targets[below])


def _directory(found: hierarchies.Hierarchies, path: str) -> str:
    paths = found.paths(path)
    return paths.get(_CONTROLLER) or paths[""]


def _all(directories: Sequence[str]) -> list[int]:
    """Those that a cgroup below the first of these may have; the first that has any counts."""
    for directory in directories:
        for name in ("cpuset.effective_cpus", "cpuset.cpus.effective", _FILE):
            if text := kernfs.read_or_none(f"{directory}/{name}"):
                return parse_ranges(text)
    return sorted(os.sched_getaffinity(0))


def _set(directory: str) -> list[int]:
    """Nothing when it has just gone, or in v2 was never given any of its own."""
    return parse_ranges(kernfs.read_or_none(f"{directory}/{_FILE}") or "")


def _write(directory: str, numbers: Iterable[int]) -> None:
    kernfs.write(f"{directory}/{_FILE}", ",".join(map(str, sorted(numbers))))
