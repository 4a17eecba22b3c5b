"""Checkpoints that a sprite makes of itself, by its own socket and without a token.

What is inside can delete none, so a loop in there would make them for ever: of a sprite that has `MOST` none is made
from inside. Its owner, who can delete some, still makes more; what pilotd makes by itself is not counted, and pruned.
"""

from __future__ import annotations

from ...wire import faults
from ..fsm.engine import Ended
from ..store.sprites import Sprite
from .sprites import Sprites

MOST = 1000


def make(sprites: Sprites, sprite: Sprite, comment: str, name: str | None, most: int = MOST) -> Ended:
    """As `Sprites.make_checkpoint`; `Exhausted` when there are as many as there may be."""
    count = sum(not each.is_auto for each in sprites.checkpoints(sprite))
    if count >= most:
        hint = "its owner may delete some: sprite checkpoint delete"
        raise faults.Exhausted(f"sprite {sprite.name} has {count} checkpoints, and makes no more by itself", hint=hint)
    return sprites.make_checkpoint(sprite, comment, name)
