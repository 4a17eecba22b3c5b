"""All operations of pilotd, as data."""

from __future__ import annotations

from typing import Any

from ..fsm.operation import AnyOperation
from . import automatic, base, create, cut, destroy, fly_table, fork_many, requests, resize, rest, results, world
from .context import Host
from .table_rows import ATTEMPTS, AnyStep, Row, Step

__all__ = ["ATTEMPTS", "ROWS", "operations"]

_MACHINE: AnyStep = Step("machine", world.make_machine)
_BOOT: AnyStep = Step("boot", world.boot, results.BOOTED)
_WORLD: AnyStep = Step("world", world.up, results.UP)
_PUBLISH: AnyStep = Step("publish", world.publish_running)
_REST: tuple[AnyStep, ...] = (Step("freeze", rest.freeze), Step("publish", rest.publish_warm))
_DOWN: tuple[AnyStep, ...] = (Step("down", world.machine_down), Step("detach", world.detach))

ROWS: tuple[Row[Any], ...] = (
    Row(
        requests.CREATE,
        (
            Step("record", create.record),
            Step("disk", create.disk),
            _MACHINE,
            Step("join", create.join),
            _BOOT,
            _WORLD,
            _PUBLISH,
        ),
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
    Row(requests.SLEEP, _REST),
    Row(requests.FORCED_SLEEP, _REST),
    Row(requests.STOP, (*_DOWN, Step("publish", rest.publish_cold))),
    Row(requests.RESTART, (*_DOWN, _MACHINE, _BOOT, _WORLD, _PUBLISH)),
    Row(requests.RESIZE, (Step("fit", resize.fit, results.FITTED), Step("publish", resize.publish))),
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
        requests.FORK_MANY,
        (
            Step("save", fork_many.save, results.SAVED),
            Step("create", fork_many.create, results.FORKED),
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
    return [row.bind(host) for row in (*ROWS, *fly_table.ROWS)]
