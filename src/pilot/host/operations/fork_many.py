"""Several sprites at once, on forks of one state of another sprite's disk.

save    an automatic checkpoint, where none was named: all begin with the same moment
create  each is a run of its own, which `create` takes back when it fails; the others stay
prune   of automatic checkpoints the latest are kept: who has a fork needs none

A pilotd that dies meanwhile has made none, or goes on with those that are left.
"""

from __future__ import annotations

import msgspec

from ... import errors
from ...ids import CheckpointId
from ..fsm.operation import Run
from ..fsm.outcome import Awaiting, Outcome, UserFault
from ..store import checkpoints
from . import automatic
from .context import Host
from .requests import CREATE, Create, Fork, ForkMany
from .results import Forked, Saved


def save(host: Host, run: Run[ForkMany]) -> Saved:
    sprite, wanted = host.sprite(run.resource), run.request.checkpoint
    if wanted is None:
        comment = f"before {len(run.request.forks)} forks"
        return Saved(automatic.make(host, sprite, CheckpointId(f"{automatic.PREFIX}{run.id}"), comment))
    try:
        return Saved(checkpoints.find(host.database, sprite.id, wanted).id)
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error


def create(host: Host, run: Run[ForkMany]) -> Forked:
    """All are begun before one is waited for."""
    source = Fork(run.resource, run.result(Saved).id)
    outcomes: dict[str, Outcome] = {}
    for fork in run.request.forks:
        wanted: Create = msgspec.structs.replace(fork.create, source=source)
        try:
            outcomes[wanted.name] = host.children.outcome(run, CREATE, fork.sprite, wanted)
        except Awaiting:
            continue
    if len(outcomes) < len(run.request.forks):
        raise Awaiting
    return Forked({name: each.error or each.ending.value for name, each in outcomes.items() if not each.done})
