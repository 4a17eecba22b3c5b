"""The holder of an open disk compacts its own log while it goes on writing it (`compaction` is for detached ones).

    look    HEAD, and the sizes of the segments ─ sparse.plan ─► live slots of sparse segments, at most 8 MiB a time:
            have them here as the store has them (`vouch`) ─ send_again ─► they are in the next batch, as if new
            ─► its places replace the old ones, here and in the log ─► `garbage` takes the old segments after its grace

Nobody is fenced, and the log has no new rule: a slot does not change while a root names it, so it may be stored twice,
and recovery takes the later place. Killed anywhere, the old places are still true. Who works from them on another host
finds the old segments until the grace period is over. A chunk that cannot be had stays where it is, with its segment.
It must never keep a batch from being sent: what is sent again is in the slab before it is asked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from .... import errors
from ... import layout, names
from ...names import Place, Stamp
from ..log import hold, sparse
from ..objects import store

_log = logging.getLogger(__name__)
STEP_SLOTS = (8 << 20) // layout.CHUNK_BYTES
_LOOK_S = 600.0
_SENT_S = 0.5


class Source(Protocol):
    """The disk, as it is seen from here."""

    def stored_places(self) -> Mapping[int, Place]:
        """Where every slot is that the store has."""

    def vouch(self, slot: int) -> bool:
        """Have the slot in the slab, as the store has it; OSError."""

    def send_again(self, slots: Sequence[int]) -> Sequence[int]:
        """Have them in the next batch, if they are in the slab and still named; which."""

    def is_unsent(self, slots: Sequence[int]) -> bool:
        """Whether one of them is still to be sent."""


class Compactor:
    """See the module."""

    def __init__(self, disk: Source, objects: store.Store, disk_id: str, share: float = sparse.LIVE_SHARE) -> None:
        self._disk = disk
        self._objects = objects
        self._id = disk_id
        self._share = share
        self._seen = -1

    def loop(self, stop: threading.Event) -> None:
        """Look now and then until told to stop; each step waits until the store has the one before."""
        while not stop.wait(_LOOK_S):
            try:
                for slots in self.look(stop):
                    while self._disk.is_unsent(slots) and not stop.wait(_SENT_S):
                        pass
                    if stop.is_set():
                        return
            except (errors.PilotError, OSError) as error:
                _log.warning("compact %s: %s", self._id, error)  # it stays larger than it should; tried again

    def look(self, stop: threading.Event | None = None) -> Iterator[Sequence[int]]:
        """Do what is worth it, in steps; the slots of each. Nothing, and no more than one request, when no snapshot was
        made since the last look: the log after it stays as it is. Told to stop, it ends after a slot."""
        head, _ = hold.read_head(self._objects, self._id)
        if head.replay_from == self._seen:
            return
        sizes, places = self._sizes(), self._disk.stored_places()
        todo = sparse.plan(head, places, places.keys(), sizes, self._share)
        for first in range(0, len(todo.slots), STEP_SLOTS):
            step = todo.slots[first : first + STEP_SLOTS]
            yield self._disk.send_again([slot for slot in step if not (stop and stop.is_set()) and self._is_good(slot)])
        self._seen = head.replay_from

    def _is_good(self, slot: int) -> bool:
        """What has rotted here must not become what the store has."""
        try:
            self._disk.vouch(slot)
        except OSError as error:
            _log.warning("compact %s: slot %d stays where it is: %s", self._id, slot, error)
            return False
        return True

    def _sizes(self) -> dict[Stamp, int]:
        listed = self._objects.list(f"vol/{self._id}/seg/")
        return {stamp: entry.size for entry in listed if (stamp := names.parse(entry.key)) is not None}
