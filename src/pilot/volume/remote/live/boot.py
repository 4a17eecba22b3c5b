"""The chunks that an attach reads first, so that the next host fetches them at once and not one after the other.

    noted     the first reads after an attach, in their order, at most 64 chunks of 64 KiB    fact "boot": "0 17 5 …"
    fetched   where the volume is attached next, before anybody asks; those side by side in the log as one range

A filesystem finds its way from the superblock on, and each step that is not here costs a round trip; what it reads at a
mount hardly changes. The list travels with the volume's facts, and forks inherit it. It is a guess: when it is old or
missing, chunks come when they are read. It must never decide what is read, nor fail anything.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent import futures

from msgspec import structs

from .... import errors
from ... import facts, layout
from ...disk import disk as disks
from . import cache

_log = logging.getLogger(__name__)
_MOST = facts.MAX_BOOT_CHUNKS
_THREADS = 8
_NOTE_S = 5.0


class BootList:
    """See the module. The disk and its caches stay the caller's."""

    def __init__(self, disk: disks.Disk, caches: Mapping[int, cache.Cache]) -> None:
        self._disk = disk
        self._caches = caches
        self._noted: dict[int, None] = {}
        self._timer = threading.Timer(_NOTE_S, self.store)
        self._timer.name, self._timer.daemon = "boot-list", True
        self._storing = threading.Lock()

    def start(self) -> None:
        """Note what is read from now on, and store that a few seconds later."""
        self._disk.on_read = self._note
        self._timer.start()

    def close(self) -> None:
        """Store what was noted, if that is still to be done."""
        self._timer.cancel()
        self.store()

    def fetch(self) -> None:
        """Have the chunks of the list here. Whoever reads one meanwhile waits for it; what fails is left to readers."""
        wanted = self._cold()
        with futures.ThreadPoolExecutor(_THREADS, "boot") as pool:
            asked = [pool.submit(self._disk.warmth.hydrate, depth, slot, among) for depth, among in wanted.items()
                     for slot in among]  # fmt: skip
        for one in asked:
            if isinstance(error := one.exception(), OSError | errors.PilotError):
                _log.warning("fetch what an attach reads: %s", error)

    def _cold(self) -> dict[int, dict[int, None]]:
        """Cold slots of the list by depth, in its order."""
        places = self._disk.places(self._disk.facts().boot)
        return {
            depth: dict.fromkeys(slot for slot in cache.slots_of(places, depth) if found.is_cold(slot))
            for depth, found in self._caches.items()
        }

    def _note(self, offset: int, length: int) -> None:
        for chunk in range(offset // layout.CHUNK_BYTES, -(-(offset + length) // layout.CHUNK_BYTES)):
            self._noted[chunk] = None
        if len(self._noted) >= _MOST:
            self._disk.on_read = None

    def store(self) -> None:
        """Replace the list, when it lacks something that was read first."""
        with self._storing:
            self._disk.on_read = None
            noted, self._noted = list(self._noted)[:_MOST], {}
            if set(noted) <= set(self._disk.facts().boot):
                return
            try:
                self._disk.change_facts(lambda known: structs.replace(known, boot=tuple(noted)))
            except (OSError, errors.PilotError) as error:
                _log.warning("store what an attach reads: %s", error)  # fenced, or full: the old list stays
