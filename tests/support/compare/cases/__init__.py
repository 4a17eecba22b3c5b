"""All cases, by name."""

from __future__ import annotations

from ..case import Case
from . import (
    asked,
    cgroups,
    corners,
    hooks,
    later,
    linux,
    manual,
    mounts,
    process,
    recent,
    reports,
    seccomp,
    users,
    verbs,
)

MODULES = (
    process,
    mounts,
    linux,
    hooks,
    cgroups,
    seccomp,
    verbs,
    reports,
    recent,
    manual,
    corners,
    users,
    later,
    asked,
)
CASES: dict[str, Case] = {case.name: case for module in MODULES for case in module.CASES}

assert len(CASES) == sum(len(module.CASES) for module in MODULES)
