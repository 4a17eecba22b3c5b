"""What the tables of operations consist of: steps and operations before they are bound to a host."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..fsm.documents import NO_RESULT, AnyFormat
from ..fsm.operation import Action, Operation, Run, Transition, settle_nothing
from ..fsm.outcome import Outcome
from .context import Host

R = TypeVar("R")

# Failures of one step before the run gives up: six pauses, six seconds in all. A volumed or a machine that dies is
# started again meanwhile, also on a busy host; five attempts, a second and a half, gave up on what was about to work.
# Tearing down never gives up.
ATTEMPTS = 7


@dataclasses.dataclass(frozen=True)
class Step(Generic[R]):
    """A transition before it is bound to a host."""

    name: str
    act: Callable[[Host, Run[R]], object]
    gives: AnyFormat = NO_RESULT


@dataclasses.dataclass(frozen=True)
class Row(Generic[R]):
    """An operation before it is bound to a host."""

    action: Action[R]
    steps: tuple[Step[R], ...]
    settle: Callable[[Host, Run[R], Outcome], None] | None = None
    attempts: int | None = ATTEMPTS

    def bind(self, host: Host) -> Operation[R]:
        transitions = tuple(
            Transition(step.name, _bind(step.act, host), self.attempts, step.gives) for step in self.steps
        )
        settle = self.settle
        if settle is None:
            return Operation(self.action, transitions, settle_nothing)
        return Operation(self.action, transitions, lambda run, outcome: settle(host, run, outcome))


def _bind(act: Callable[[Host, Run[R]], object], host: Host) -> Callable[[Run[R]], object]:
    return lambda run: act(host, run)


# Of whatever request: these ask no run what it was asked for.
AnyStep = Step[Any]
