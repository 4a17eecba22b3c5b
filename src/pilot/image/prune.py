"""What the cache no longer needs: everything but the newest of each kind, and what a machine still stands on.

A machine that is a container has its root on a mount of a guest directory, which shows in its mountinfo; layers share
inodes, so a base may go while its guests stay. What QEMU has open it keeps open.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator

from . import cache as artefacts

# Kind and suffix: `guest-1234` and `guest-1234.erofs` are two kinds of thing.
_KINDS = (
    ("base", ""),
    ("guest", ""),
    ("guest", ".erofs"),
    ("linux", ""),
    ("kernel", ""),
    ("debian-minimal", ""),
    ("debian-standard", ""),
    ("programs", ""),
    ("world-minimal", ".tar"),
    ("world-standard", ".tar"),
)


def unused(cache: str, mounts: Iterable[str]) -> list[str]:
    """The paths that may go. `mounts` are the texts of every mountinfo there is."""
    in_use = "\n".join(mounts)
    return [path for path in _superseded(cache) if os.path.basename(path) not in in_use]


def all_mounts() -> Iterator[str]:
    """The mountinfo of every process."""
    for path in glob.glob("/proc/[0-9]*/mountinfo"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                yield file.read()
        except OSError:
            continue  # a process that has ended since stands on nothing


def _superseded(cache: str) -> Iterator[str]:
    for kind, suffix in _KINDS:
        of_kind = [path for path in artefacts.finished(cache, kind) if os.path.splitext(path)[1] == suffix]
        yield from of_kind[1:]
