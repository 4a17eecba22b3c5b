"""All operations of pilotd, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..fsm.operation import Operation, Run, Transition
from . import automatic, base, create, cut, destroy, world
from .context import Host

SPRITE = "sprite"
BASE = "base"

Step = Callable[[Host, Run], Any]

# Failures of one step before the run gives up: six pauses, six seconds in all. A volumed or a machine that dies is
# started again meanwhile, also on a busy host; five attempts, a second and a half, gave up on what was about to work.
# Tearing down never gives up.
ATTEMPTS = 7

_BOOT: tuple[tuple[str, Step], ...] = (("boot", world.boot), ("world", world.up), ("publish", world.publish_running))

_STEPS: dict[tuple[str, str], tuple[tuple[str, Step], ...]] = {
    (SPRITE, "create"): (("record", create.record), ("disk", create.disk), ("machine", world.make_machine), *_BOOT),
    (SPRITE, "pool"): (
        ("record", create.record_member),
        ("disk", create.disk),
        ("machine", world.make_machine),
        ("boot", world.boot),
        ("world", world.up),
        ("ready", create.member_ready),
    ),
    (SPRITE, "wake"): _BOOT,
    (SPRITE, "stop"): (("down", world.machine_down), ("detach", world.detach)),
    (SPRITE, "restart"): (
        ("down", world.machine_down),
        ("detach", world.detach),
        ("machine", world.make_machine),
        *_BOOT,
    ),
    (SPRITE, "checkpoint"): (("reserve", cut.reserve), ("take", cut.take), ("publish", cut.publish)),
    (SPRITE, "delete_checkpoint"): (
        ("choose", cut.choose),
        ("delete", cut.delete_volume_checkpoint),
        ("forget", cut.forget_checkpoint),
    ),
    (SPRITE, "restore"): (
        ("choose", cut.choose),
        ("save", automatic.save),
        ("down", cut.world_away),
        ("swap", cut.swap),
        ("publish", cut.publish_restored),
        ("up", cut.back_up),
        ("prune", automatic.prune),
    ),
    (SPRITE, "destroy"): (
        ("mark", destroy.mark),
        ("machine", destroy.machine),
        ("disk", destroy.disk),
        ("forget", destroy.forget),
    ),
    (BASE, "prepare"): (
        ("archive", base.archive),
        ("fill", base.fill),
        ("seal", base.seal),
        ("publish", base.publish),
        ("retire", base.retire),
    ),
}
_FOR_EVER = frozenset({(SPRITE, "destroy")})
_UNDONE = frozenset({(SPRITE, "create"), (SPRITE, "pool")})


def operations(host: Host) -> list[Operation]:
    """Every operation, bound to `host`."""
    return [_operation(host, kind, action) for kind, action in _STEPS]


def _operation(host: Host, kind: str, action: str) -> Operation:
    attempts = None if (kind, action) in _FOR_EVER else ATTEMPTS
    steps = tuple(Transition(name, _bind(step, host), attempts) for name, step in _STEPS[kind, action])
    if (kind, action) in _UNDONE:
        return Operation(kind, action, steps, lambda run, outcome: create.settle(host, run, outcome))
    return Operation(kind, action, steps)


def _bind(step: Step, host: Host) -> Callable[[Run], Any]:
    return lambda run: step(host, run)
