"""The checkpoint that pilotd makes by itself before a restore, so that a restore can be taken back; and the one that
several forks are made of.

Before a restore it is a courtesy: when it cannot be made (no space, a world that hangs), the restore goes on without.
The latest few are kept.
"""

from __future__ import annotations

import contextlib
import logging

from ... import errors
from ...ids import CheckpointId
from ..fsm.operation import Run
from ..store import checkpoints, sprites
from ..store.checkpoints import Checkpoint
from ..store.journal import now_us
from ..store.sprites import Sprite
from . import cut
from .context import Cut, Host
from .requests import ForkMany, OfCheckpoint
from .results import Saved

log = logging.getLogger(__name__)

KEPT = 3
PREFIX = "auto-"  # of their ids, and of no others


def save(host: Host, run: Run[OfCheckpoint]) -> Saved:
    """Taken and published; the run's id makes its name, so a repetition finds it made."""
    sprite = host.sprite(run.resource)
    try:
        return Saved(make(host, sprite, CheckpointId(f"{PREFIX}{run.id}"), _comment(run)))
    except errors.PilotError as error:
        log.warning("no automatic checkpoint", extra={"sprite": sprite.id, "error": str(error)})
        return Saved(None)


def make(host: Host, sprite: Sprite, name: CheckpointId, comment: str) -> CheckpointId:
    """Idempotent by name."""
    made = cut.made(host, sprite, name, comment)
    with host.database.transaction() as tx:
        checkpoints.publish_newest(tx, _row(sprite, name, comment, made))
        sprites.update(tx, sprite.id, current_source=name)
    return name


def _comment(run: Run[OfCheckpoint]) -> str:
    return f"before the restore of {run.request.checkpoint}"


def _row(sprite: Sprite, name: CheckpointId, comment: str, made: Cut) -> Checkpoint:
    return Checkpoint(
        sprite=sprite.id,
        id=name,
        number=0,
        source=sprite.current_source,
        comment=comment,
        is_auto=True,
        clean=made.clean,
        frozen_ms=made.frozen_ms,
        created_us=now_us(),
    )


def prune(host: Host, run: Run[OfCheckpoint] | Run[ForkMany]) -> None:
    """All but the latest; never the one that the disk has just been restored to, or that somebody has named.

    Rows go first, each unless it has been named by then: so what is named is there. Then what the disk has without a
    row, also of an earlier attempt that died between.
    """
    sprite = host.sprite(run.resource)
    made = [point for point in checkpoints.every(host.database, sprite.id) if point.is_auto]
    for point in made[KEPT:]:
        if point.id != run.request.checkpoint:
            with host.database.transaction() as tx:
                checkpoints.delete_unnamed(tx, sprite.id, point.id)
    known = {point.id for point in checkpoints.every(host.database, sprite.id)}
    for left in host.volumes.checkpoints(sprite.volume):
        if left.id.startswith(PREFIX) and left.id not in known:
            with contextlib.suppress(errors.NotFound):  # it is gone, as is wanted
                host.volumes.delete_checkpoint(sprite.volume, left.id)
