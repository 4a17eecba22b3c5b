"""The operations on Machines, and on what they are made of, as data (`table`).

launch    record → starting → images → disks → machine → boot → graph → started        (skip_launch: record alone)
start              starting → images → disks → machine → boot → graph → started        (from suspended: thawed)
stop      stopping → halt → down → detach → stopped
restart   restarting → halt → down → detach → starting → … → started
suspend   suspending → freeze → suspended
rest-stop, rest-suspend: the same, of one that nobody uses; one that somebody comes to runs on
update    was → replacing → fetched → halt → down → detach → renew → settled → starting → … → started
          (the old version runs until the images of the new one are there)
exit      over → halt → down → detach → exited     (its containers have ended by themselves, or one of its processes)
limit     fit                                                                          (memory, until the next start)
destroy   mark → machine → disks → forget
make-member   member → roots → machine → boot → warm                          (of a machine that nobody wants yet)
drop-member   machine → disks → forget
prepare   fetch → fill → seal → publish → retire                                       (of an image)
take      take → seal → publish                                                        (of a sprite's checkpoint)
collect   unpublish → drop                                                             (of a base that is not used)
          and those of volumes: `fly_volumes`
"""

from __future__ import annotations

from typing import Any

from . import fly, fly_pool, fly_requests, fly_volumes, image_base
from .table_rows import AnyStep, Row, Step


def _up(first: AnyStep) -> tuple[AnyStep, ...]:
    """From a state that says so to running."""
    later: tuple[AnyStep, ...] = (
        Step("images", fly.images),
        Step("disks", fly.make_disks, fly_requests.ROOTS),
        Step("machine", fly.make_machine),
        Step("boot", fly.boot),
        Step("graph", fly.apply_graph),
        Step("started", fly.started),
    )
    return (first, *later)


def _perhaps(steps: tuple[AnyStep, ...]) -> tuple[AnyStep, ...]:
    """Of a run that may be told not to leave anything running."""
    return tuple(Step(step.name, fly.when_it_goes_on(step.act), step.gives) for step in steps)


_AGAIN: AnyStep = Step("starting", fly.begun_again)
_DOWN: tuple[AnyStep, ...] = (
    Step("halt", fly.halt, fly_requests.HALTED),
    Step("down", fly.down),
    Step("detach", fly.detach),
)

ROWS: tuple[Row[Any], ...] = (
    Row(fly_requests.LAUNCH, (Step("record", fly.record), *_perhaps(_up(_AGAIN))), fly.settle),
    Row(fly_requests.START, _up(Step("starting", fly.starting)), fly.settle),
    Row(fly_requests.STOP, (Step("stopping", fly.stopping), *_DOWN, Step("stopped", fly.stopped)), fly.settle),
    Row(fly_requests.RESTART, (Step("restarting", fly.restarting), *_DOWN, *_up(_AGAIN)), fly.settle),
    Row(
        fly_requests.SUSPEND,
        (Step("suspending", fly.suspending), Step("freeze", fly.freeze), Step("suspended", fly.suspended)),
        fly.settle_suspend,
    ),
    Row(
        fly_requests.REST_STOP,
        (Step("stopping", fly.resting_stopped), *_DOWN, Step("stopped", fly.stopped)),
        fly.settle_rest,
    ),
    Row(
        fly_requests.REST_SUSPEND,
        (Step("suspending", fly.resting_suspended), Step("freeze", fly.freeze), Step("suspended", fly.suspended)),
        fly.settle_rest,
    ),
    Row(
        fly_requests.UPDATE,
        (
            Step("was", fly.was, fly_requests.WAS),
            Step("replacing", fly.replacing),
            Step("fetched", fly.images),
            *_DOWN,
            Step("renew", fly.renew),
            Step("settled", fly.settled),
            *_perhaps(_up(_AGAIN)),
        ),
        fly.settle_update,
    ),
    Row(fly_requests.LIMIT, (Step("fit", fly.fit),)),
    Row(
        fly_requests.EXIT,
        (
            Step("over", fly.require_over),
            *_DOWN,
            Step("exited", fly.exited),
        ),
    ),
    Row(
        fly_requests.DESTROY,
        (
            Step("mark", fly.mark),
            Step("machine", fly.destroy_machine),
            Step("disks", fly.destroy_disks),
            Step("forget", fly.forget),
        ),
        attempts=None,
    ),
    Row(
        fly_pool.MAKE,
        (
            Step("member", fly_pool.member),
            Step("roots", fly_pool.make_roots),
            Step("machine", fly_pool.make_machine),
            Step("boot", fly_pool.boot),
            Step("warm", fly_pool.warm),
        ),
        fly_pool.settle,
    ),
    Row(
        fly_pool.DROP,
        (
            Step("machine", fly_pool.destroy_machine),
            Step("disks", fly_pool.destroy_roots),
            Step("forget", fly_pool.forget),
        ),
        attempts=None,
    ),
    Row(
        fly_volumes.CREATE,
        (
            Step("record", fly_volumes.record),
            Step("disk", fly_volumes.make_disk),
            Step("ready", fly_volumes.ready),
        ),
        fly_volumes.settle_create,
    ),
    Row(fly_volumes.EXTEND, (Step("size", fly_volumes.size), Step("grow", fly_volumes.grow))),
    Row(fly_volumes.PRUNE, (Step("delete", fly_volumes.delete_snapshots),)),
    Row(fly_volumes.SNAPSHOT, (Step("take", fly_volumes.take),)),
    Row(
        fly_volumes.DESTROY,
        (
            Step("mark", fly_volumes.mark),
            Step("disk", fly_volumes.destroy_disk),
            Step("forget", fly_volumes.forget),
        ),
    ),
    Row(
        image_base.PREPARE,
        (
            Step("fetch", image_base.fetch),
            Step("fill", image_base.fill),
            Step("seal", image_base.seal),
            Step("publish", image_base.publish),
            Step("retire", image_base.retire),
        ),
    ),
    Row(
        image_base.TAKE,
        (Step("take", image_base.take), Step("seal", image_base.seal), Step("publish", image_base.publish)),
    ),
    Row(image_base.COLLECT, (Step("unpublish", image_base.unpublish), Step("drop", image_base.drop))),
)
