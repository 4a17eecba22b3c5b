"""Which manifest of an index is for a platform.

The names are Go's (`amd64`, `arm64`), with the spellings of `uname -m` taken for them. A variant is a level: what is
for a lower one runs as well, so the highest that is not above the wanted one is best. An entry without platform may be
anything: it comes last, and its config decides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from .documents import INDEXES, Descriptor, Platform

_SPELLINGS = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armv7l": "arm", "i686": "386"}
_BASELINE = {"amd64": 1, "arm64": 8, "arm": 7}
_LEVEL = re.compile(r"v?([0-9]{1,3})")


def host() -> Platform:
    """This machine's, at the lowest level of its architecture."""
    return Platform("linux", normal(os.uname().machine))


def normal(architecture: str) -> str:
    """Go's name of it."""
    return _SPELLINGS.get(architecture.lower(), architecture.lower())


def level(platform: Platform) -> int | None:
    """The number of the variant, the architecture's own where none is given; None for one that is no number."""
    if not platform.variant:
        return _BASELINE.get(normal(platform.architecture), 0)
    match = _LEVEL.match(platform.variant)
    return int(match[1]) if match else None


def runs(offered: Platform, wanted: Platform) -> bool:
    """Whether what is for `offered` runs on `wanted`."""
    if offered.os.lower() != wanted.os or normal(offered.architecture) != normal(wanted.architecture):
        return False
    offer, want = level(offered), level(wanted)
    return offer == want if offer is None or want is None else offer <= want


def candidates(entries: Sequence[Descriptor], wanted: Platform) -> tuple[Descriptor, ...]:
    """Those that may be for `wanted`, the best first; among equals in the order of the index."""
    fitting = [e for e in entries if e.platform is not None and runs(e.platform, wanted)]
    fitting.sort(key=lambda entry: -(level(entry.platform) or 0) if entry.platform else 0)
    unsaid = [entry for entry in entries if entry.platform is None]
    unsaid.sort(key=lambda entry: entry.media_type in INDEXES)
    return (*fitting, *unsaid)


def describe(platform: Platform) -> str:
    """As the command lines of the field spell it: `linux/arm64/v8`."""
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))
