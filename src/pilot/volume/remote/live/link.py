"""Ties an open disk to its object store: uploader, caches and hydration, as the disk's facts say.

Made by whoever opened the disk (a worker for attached ones, volumed to drain others), closed before the disk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Sequence

from .... import errors
from ...disk import disk as disks
from ...disk import meta, room, slab
from ...facts import Durability
from ..log import hold, keys
from ..log.codec import Codec
from ..objects import opening
from . import boot, cache, inband, relocate, uploader

_log = logging.getLogger(__name__)
DIRTY_CAP_BYTES = 1 << 30
_PERSIST_SLOTS = 512
_EVICT_INTERVAL_S = 1.0


class Link:
    """See the module. The disk stays the caller's."""

    def __init__(self, disk: disks.Disk, lineage: Sequence[str]) -> None:
        self._disk = disk
        self._facts = disk.facts()
        self._id = os.path.basename(disk.directory)
        self._lineage = lineage
        self._objects = opening.open_store(_tied(self._facts.local.store))
        self._local = threading.local()
        self._stopping = threading.Event()
        self._caches = {depth: self._cache(*found) for depth, found in disk.warmth.want_caches()}
        disk.warmth.use(self._caches)
        disk.debt.cap_bytes = self._facts.dirty_cap_bytes or DIRTY_CAP_BYTES
        disk.debt.waits_for_store = self._facts.durability is Durability.REMOTE
        packer = keys.codec_at(self._id, self._facts.local.key, self._objects)  # the uploader's own
        self._uploader = uploader.Uploader(disk.outbox, self._resume, self._is_ready, packer)
        self._boot = boot.BootList(disk, self._caches)
        self._hydrator = threading.Thread(target=self._hydrate, name="hydrate", daemon=True)
        self._keep_bytes = self._facts.local.cache_bytes
        self._evictor = threading.Thread(target=self._evict, name="evict", daemon=True)
        compactor = inband.Compactor(disk.outbox, self._objects, self._id)
        self._compactor = threading.Thread(target=compactor.loop, args=(self._stopping,), name="compact", daemon=True)

    def start(self, *, hydrate: bool) -> None:
        """Upload; `hydrate`: somebody will use the disk, so fetch what is cold, and tidy the log, in the
        background."""
        if hydrate:
            self._boot.start()
            self._compactor.start()
            if any(found.count for found in self._caches.values()):
                self._hydrator.start()
        self._disk.debt.dirty.set()
        self._uploader.start()
        if self._keep_bytes is not None:
            self._evictor.start()

    @property
    def error(self) -> str | None:
        """What keeps the store from having it all, as far as that is known."""
        return self._uploader.error

    def close(self, deadline_s: float) -> bool:
        """Drain; whether the store has everything."""
        self._stopping.set()
        self._disk.debt.waits_for_store = False
        self._boot.close()
        drained = self._uploader.drain(deadline_s)
        for thread in (self._hydrator, self._evictor, self._compactor):
            if thread.is_alive():
                thread.join(deadline_s)
        for found in self._caches.values():
            found.persist()
        return drained

    def _cache(self, directory: str, data: slab.Slab, books: meta.Meta) -> cache.Cache:
        disk, key = os.path.basename(directory), books.facts().local.key

        def packer() -> Codec:
            return self._packer(disk, key)

        def find_again(found: cache.Cache) -> None:
            relocate.find_again(self._objects, disk, books, found.is_cold)

        return cache.Cache(disk, data, books, self._objects, packer, find_again)

    def _packer(self, disk: str, key: str | None) -> Codec:
        """One per thread and disk."""
        known: dict[str, Codec] = self._local.__dict__.setdefault("packers", {})
        if disk not in known:
            known[disk] = keys.codec_at(disk, key, self._objects)
        return known[disk]

    def _resume(self) -> hold.Hold:
        return hold.Hold.resume(self._objects, self._id, _tied(self._facts.local.holder), self._seq())

    def _seq(self) -> int:
        with contextlib.closing(meta.Meta(self._disk.directory, read_only=True)) as stored:
            return stored.facts().local.seq

    def _is_ready(self) -> bool:
        """A fork's map names what its ancestors hold: that must be durable before the fork can be."""
        chain = [*self._facts.lineage, self._id]
        for directory, child in zip(self._lineage, chain[1:], strict=True):
            with contextlib.closing(meta.Meta(directory, read_only=True)) as stored:
                if not stored.facts().is_fork_durable(child):
                    return False
        return True

    def _evict(self) -> None:
        assert self._keep_bytes is not None
        while not self._stopping.wait(_EVICT_INTERVAL_S):
            try:
                for depth, found in self._caches.items():
                    found.persist()
                    while self._disk.warmth.evict(self._keep_bytes, depth) and not self._stopping.is_set():
                        pass
            except (OSError, errors.PilotError) as error:
                _log.warning("evict: %s", error)  # the slab stays larger than it should; tried again

    def _hydrate(self) -> None:
        """What an attach reads; then everything, or as much of each slab as may be here."""
        self._boot.fetch()
        for depth, found in self._caches.items():
            for number, slot in enumerate(found.cold_slots()):
                if self._stopping.is_set():
                    return
                if self._keep_bytes is not None and self._disk.warmth.resident_bytes(depth) >= self._keep_bytes:
                    break
                try:
                    self._disk.warmth.hydrate(depth, slot)
                except (OSError, errors.PilotError) as error:
                    _log.warning("hydrate: %s", error)  # who reads it will be told; the next attach tries again
                    if isinstance(error, OSError) and error.errno in room.FULL:
                        return  # room is made for who reads, not for what nobody asked for
                if number % _PERSIST_SLOTS == 0:
                    found.persist()
            found.persist()


def _tied(value: str | None) -> str:
    """A fact that every disk in a store has."""
    if value is None:
        raise errors.StateError("tie a disk to its store: it is in none")
    return value
