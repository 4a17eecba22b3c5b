"""Operations as data: what a run is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ...ids import RunId
from . import documents
from .documents import AnyFormat, Format
from .outcome import Outcome

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Action(Generic[R]):
    """What one asks for: `engine.start(action, resource, request)`. What is then done is its `Operation`'s."""

    kind: str
    name: str
    request: Format[R]


@dataclasses.dataclass(frozen=True)
class Run(Generic[R_co]):
    """One execution of an operation. `results`: what the completed transitions returned, by their names."""

    id: RunId
    kind: str
    action: str
    resource: str
    request: R_co
    results: dict[str, object] = dataclasses.field(default_factory=dict)

    def find(self, kind: type[T]) -> T | None:
        """The result of that type, where its transition is completed. No two transitions return the same type."""
        return documents.find(self.results.values(), kind)

    def result(self, kind: type[T]) -> T:
        """`find`, of a transition before this one."""
        found = self.find(kind)
        if found is None:
            raise LookupError(f"{self.action} {self.kind}: no transition before this one returned a {kind.__name__}")
        return found


Act = Callable[[Run[R]], object]
Settle = Callable[[Run[R], Outcome], None]


def settle_nothing(run: Run[object], outcome: Outcome) -> None:
    """For operations whose failure leaves nothing to undo."""


@dataclasses.dataclass(frozen=True)
class Transition(Generic[R]):
    """`act` is idempotent and returns what `result` writes. After `attempts` failures the run is aborted."""

    name: str
    act: Act[R]
    attempts: int | None = None
    result: AnyFormat = documents.NO_RESULT


@dataclasses.dataclass(frozen=True)
class Operation(Generic[R]):
    """`settle` is idempotent too; it runs once the outcome is decided, whatever it is."""

    action: Action[R]
    transitions: tuple[Transition[R], ...]
    settle: Settle[R] = settle_nothing

    def names(self) -> tuple[str, ...]:
        return tuple(transition.name for transition in self.transitions)

    def formats(self) -> dict[str, AnyFormat]:
        return {transition.name: transition.result for transition in self.transitions}


# Of whatever request: who has many of them looks them up by what a run says.
AnyOperation = Operation[Any]
