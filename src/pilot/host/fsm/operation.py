"""Operations as data: what a run is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ...ids import RunId
from .outcome import Outcome


@dataclasses.dataclass(frozen=True)
class Run:
    """One execution of an operation. `request` and `results` hold what JSON can; results are by transition name."""

    id: RunId
    kind: str
    action: str
    resource: str
    request: Mapping[str, Any]
    results: dict[str, Any] = dataclasses.field(default_factory=dict)


Act = Callable[[Run], Any]
Settle = Callable[[Run, Outcome], None]


def settle_nothing(run: Run, outcome: Outcome) -> None:
    """For operations whose failure leaves nothing to undo."""


@dataclasses.dataclass(frozen=True)
class Transition:
    """`act` is idempotent and returns what JSON can hold (or None). After `attempts` failures the run is aborted."""

    name: str
    act: Act
    attempts: int | None = None


@dataclasses.dataclass(frozen=True)
class Operation:
    """`settle` is idempotent too; it runs once the outcome is decided, whatever it is."""

    kind: str
    action: str
    transitions: tuple[Transition, ...]
    settle: Settle = settle_nothing

    def names(self) -> tuple[str, ...]:
        return tuple(transition.name for transition in self.transitions)
