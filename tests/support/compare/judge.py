"""What pilot does otherwise than the runtime that a case is compared with."""

from __future__ import annotations

from collections.abc import Mapping

from .case import Case, Json
from .differences import MEANT

OUTCOMES = ("status", "create", "start")
Observations = Mapping[str, Json]


def differences(case: Case, ours: Observations, theirs: Observations) -> list[str]:
    """One line for each observation that differs and was not meant to, or does not differ and was."""
    lines = []
    meant = MEANT.get(case.name, {})
    if any(name in meant and ours.get(name) != theirs.get(name) for name in OUTCOMES):
        return []  # the one refuses what the other makes: there is nothing more to compare
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if (mine != other) is not (name in meant):
            what = "does not differ any more" if mine == other else f"pilot {mine!r}, {case.like} {other!r}"
            lines.append(f"{case.name}: {name}: {what}")
    return lines
