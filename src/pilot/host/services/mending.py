"""Sprites whose filesystem became read-only on a full disk are started anew when there is room again.

Only those that run: one at rest is mounted anew when it is woken. One sprite at most once in PAUSE_S: what fills its
quota again at once is not restarted for ever.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager

from ... import errors
from ...ids import VolumeId
from .. import periodic
from ..store.sprites import Sprite
from .sprites import Sprites

log = logging.getLogger(__name__)

PERIOD_S = 5.0
GUESTS_S = 30.0  # each is a question to a machine, which otherwise may have nothing to do
PAUSE_S = 600.0
# Less is used up before the restart is through.
ROOM_BYTES = 32 << 20


class Mending:
    """What has been mended, and when."""

    def __init__(self, sprites: Sprites, room_bytes: int = ROOM_BYTES) -> None:
        self._sprites = sprites
        self._room_bytes = room_bytes
        self._mended: dict[str, float] = {}
        self._asked_s = -GUESTS_S

    def look(self, now_s: float) -> list[str]:
        """One round; the names of the sprites that are started anew."""
        found = {**self._sprites.disks().read_only, **self._of_guests(now_s)}
        mendable = {volume for volume, left_bytes in found.items() if left_bytes >= self._room_bytes}
        if not mendable:
            return []
        self._mended = {id: at for id, at in self._mended.items() if now_s - at < PAUSE_S}
        chosen = [row for row in self._sprites.every() if row.volume in mendable and self._is_due(row)]
        for row in chosen:
            self._mended[row.id] = now_s
            log.warning("filesystem is read-only, the sprite is started anew", extra={"sprite": row.name})
            self._sprites.mend(row)
        return [row.name for row in chosen]

    def _of_guests(self, now_s: float) -> Mapping[VolumeId, int]:
        """Those that guests mount, of which volumed does not know; each of them is asked."""
        if now_s - self._asked_s < GUESTS_S:
            return {}
        self._asked_s = now_s
        return self._sprites.guests.read_only(row for row in self._sprites.every() if self._sprites.is_ready(row))

    def _is_due(self, row: Sprite) -> bool:
        return self._sprites.is_ready(row) and row.id not in self._mended


def watching(sprites: Sprites) -> AbstractContextManager[None]:
    """Look now and then, for as long as the block lasts."""
    mending = Mending(sprites)
    return periodic.every(PERIOD_S, "mending", lambda: _look(mending))


def _look(mending: Mending) -> None:
    try:
        mending.look(time.monotonic())
    except (errors.PilotError, OSError) as error:
        log.warning("read-only filesystems not looked for", extra={"error": str(error)})
