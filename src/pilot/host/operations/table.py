"""All operations of pilotd, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..fsm.documents import NO_RESULT, AnyFormat
from ..fsm.operation import Action, AnyOperation, Operation, Run, Transition, settle_nothing
from ..fsm.outcome import Outcome
from . import automatic, base, create, cut, destroy, requests, rest, results, world
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
_MACHINE: AnyStep = Step("machine", world.make_machine)
_BOOT: AnyStep = Step("boot", world.boot, results.BOOTED)
_WORLD: AnyStep = Step("world", world.up, results.UP)
_PUBLISH: AnyStep = Step("publish", world.publish_running)
_DOWN: tuple[AnyStep, ...] = (Step("down", world.machine_down), Step("detach", world.detach))

ROWS: tuple[Row[Any], ...] = (
    Row(
        requests.CREATE,
        (Step("record", create.record), Step("disk", create.disk), _MACHINE, _BOOT, _WORLD, _PUBLISH),
        create.settle,
    ),
    Row(
        requests.POOL,
        (
            Step("record", create.record_member),
            Step("disk", create.member_disk),
            _MACHINE,
            _BOOT,
            _WORLD,
            Step("ready", create.member_ready),
        ),
        create.settle_member,
    ),
    Row(requests.WAKE, (_BOOT, _WORLD, _PUBLISH)),
    Row(requests.SLEEP, (Step("freeze", rest.freeze), Step("publish", rest.publish_warm))),
    Row(requests.STOP, (*_DOWN, Step("publish", rest.publish_cold))),
    Row(requests.RESTART, (*_DOWN, _MACHINE, _BOOT, _WORLD, _PUBLISH)),
    Row(
        requests.CHECKPOINT,
        (
            Step("reserve", cut.reserve, results.RESERVED),
            Step("take", cut.take, results.TAKEN),
            Step("publish", cut.publish),
        ),
    ),
    Row(
        requests.DELETE_CHECKPOINT,
        (
            Step("choose", cut.choose),
            Step("delete", cut.delete_volume_checkpoint),
            Step("forget", cut.forget_checkpoint),
        ),
    ),
    Row(
        requests.RESTORE,
        (
            Step("choose", cut.choose),
            Step("save", automatic.save, results.SAVED),
            Step("down", cut.world_away, results.DOWN),
            Step("swap", cut.swap),
            Step("publish", cut.publish_restored),
            Step("up", cut.back_up),
            Step("prune", automatic.prune),
        ),
    ),
    Row(
        requests.DESTROY,
        (
            Step("mark", destroy.mark),
            Step("machine", destroy.machine),
            Step("disk", destroy.disk),
            Step("forget", destroy.forget),
        ),
        attempts=None,
    ),
    Row(
        requests.PREPARE_BASE,
        (
            Step("archive", base.archive, results.ARCHIVED),
            Step("fill", base.fill),
            Step("seal", base.seal),
            Step("publish", base.publish),
            Step("retire", base.retire),
        ),
    ),
)


def operations(host: Host) -> list[AnyOperation]:
    """Every operation, bound to `host`."""
    return [row.bind(host) for row in ROWS]
