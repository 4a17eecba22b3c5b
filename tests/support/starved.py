"""A process that has no more of something than it has now, for a moment: as a host would have it that runs out."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
from collections.abc import Iterator


def _room_for(taken: set[int], spare: int) -> int:
    """The limit below which so many numbers are free."""
    limit = 0
    while spare or limit in taken:
        spare -= limit not in taken
        limit += 1
    return limit


@contextlib.contextmanager
def of_descriptors(pid: int, spare: int) -> Iterator[None]:
    """It may open so many more; then EMFILE."""
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (_room_for(taken, spare), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def of_memory(pid: int, spare_bytes: int) -> Iterator[None]:
    """It may map so much more; then ENOMEM, for threads too, whose stacks are mapped."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0])
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    limit = pages * os.sysconf("SC_PAGESIZE") + spare_bytes
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)
