"""Checkpoints that a sprite makes of itself, and snapshots that a Machine makes of its volumes, by their own sockets.

What is inside can delete none, so a loop in there would make them for ever: of a disk that has `MOST` none is made from
inside. Its owner still makes more; what pilotd makes by itself of a sprite is not counted, and pruned. The run looks
once more, as the last of several that asked at once.
"""

from __future__ import annotations

from ...ids import CheckpointId
from ...wire import faults
from ..fsm.engine import Ended
from ..store.fly_volumes import Volume
from ..store.sprites import Sprite
from .fly_volumes import FlyVolumes
from .sprites import Sprites

MOST = 1000


def make(sprites: Sprites, sprite: Sprite, comment: str, name: str | None, most: int = MOST) -> Ended:
    """As `Sprites.make_checkpoint`; `Exhausted` when there are as many as there may be."""
    count = sum(not each.is_auto for each in sprites.checkpoints(sprite))
    if count >= most:
        hint = "its owner may delete some: sprite checkpoint delete"
        raise faults.Exhausted(f"sprite {sprite.name} has {count} checkpoints, and makes no more by itself", hint=hint)
    return sprites.make_checkpoint(sprite, comment, name, most)


def snapshot(volumes: FlyVolumes, row: Volume, most: int = MOST) -> tuple[CheckpointId, Ended]:
    """As `FlyVolumes.snapshot`; `Exhausted` when there are as many as there may be."""
    count = len(volumes.snapshots(row))
    if count >= most:
        hint = f"they go after {row.snapshot_retention} days, as the volume has it"
        raise faults.Exhausted(f"volume {row.id} has {count} snapshots, and makes no more by itself", hint=hint)
    return volumes.snapshot(row, most)
