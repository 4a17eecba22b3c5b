"""Which slots of the slabs are here, and which are in the store only: fetched when they are read, left when room is
wanted.

    read  ─► warm ─► a cold slot is fetched before it is read
    evict ─► chill (in the store only, from now on) ─ wait for readers ─ C forgets ─ punch ─ chilled

A slot is never punched under a reader's eyes: no other process has the slab open (`sharing.alone`), readers of ours are
waited for, and a slot that is being fetched is not chilled. How cold slots come is for `remote.live.cache` to know.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from .. import crashpoint, layout
from ..books import pieces
from . import meta, slab
from .debt import Debt
from .opened import Opened
from .room import Gauge
from .traffic import Traffic

_EVICT_SLOTS = 4096
Allowed = Callable[[Iterable[int]], Sequence[int]]


class Cache(Protocol):
    """The cold slots of one slab; the docstrings are in `remote.live.cache.Cache`."""

    @property
    def count(self) -> int: ...
    def is_cold(self, slot: int) -> bool: ...
    def note_reads(self, slots: Sequence[int]) -> None: ...
    def fetch(self, slots: Iterable[int], allowed: Allowed) -> None: ...
    def hydrate(self, slot: int, allowed: Allowed) -> None: ...
    def vouch(self, slot: int, allowed: Allowed) -> bool: ...
    def take_unread(self) -> Sequence[int]: ...
    def chill(self, slots: Sequence[int]) -> Sequence[int]: ...
    def chilled(self, slots: Sequence[int]) -> None: ...
    def rewarm(self, slots: Sequence[int]) -> None: ...
    def forget(self, slots: Iterable[int]) -> None: ...


class Warmth:
    """See the module. Without a store there are no caches, and everything is here."""

    def __init__(self, opened: Opened, traffic: Traffic, debt: Debt, gauge: Gauge) -> None:
        self._opened = opened
        self._lock, self._ledger, self._depth = opened.lock, opened.ledger, opened.depth
        self._traffic = traffic
        self._debt = debt
        self._gauge = gauge
        self._caches: Mapping[int, Cache] = {}

    def want_caches(self) -> Iterator[tuple[int, tuple[str, slab.Slab, meta.Meta]]]:
        """(depth, directory, …) of this disk, and of each ancestor that is not all here, or need not stay here."""
        opened = self._opened
        yield self._depth, (opened.directory, opened.slab, opened.meta)
        for depth, ancestor in enumerate(opened.lineage):
            if ancestor.is_cached:
                yield depth, (ancestor.directory, ancestor.slab, ancestor.meta)

    def use(self, caches: Mapping[int, Cache]) -> None:
        """From now on slots of the disks at these depths may be in the store only."""
        self._caches = caches
        self._traffic.is_watched = True

    @property
    def cold_bytes(self) -> int:
        """What is in the store only."""
        return sum(found.count for found in self._caches.values()) * layout.CHUNK_BYTES

    # ---- coming

    def warm(self, places: Sequence[int]) -> None:
        """Have the content of these places in the slabs. Within `Traffic.reading`, so that none of them is freed."""
        for depth, cached in self._caches.items():
            slots = [layout.number_of(at) for at in places if at and layout.depth_of(at) == depth]
            cached.note_reads(slots)
            if cold := sum(cached.is_cold(slot) for slot in slots):
                self._gauge.claim(cold * layout.CHUNK_BYTES)
                cached.fetch(slots, self._allowed(depth))

    def hydrate(self, depth: int, slot: int, among: Container[int] | None = None) -> None:
        """Have a cold slot here, if it is still named; OSError (ENOSPC): it stays where it is.

        Of those behind it only what is `among` comes along.
        """
        allowed = self._allowed(depth)
        with self._traffic.reading():
            self._gauge.claim(layout.CHUNK_BYTES)
            self._caches[depth].hydrate(
                slot, allowed if among is None else lambda slots: allowed(s for s in slots if s in among)
            )

    def vouch(self, slot: int) -> bool:
        """Have a slot of this disk here as the store has it, as long as it is named: fetched where it is cold, put
        right where it is something else here; whether it was. OSError (EIO): what the store has cannot be had."""
        own = self._caches[self._depth]
        with self._traffic.reading():
            if own.is_cold(slot):
                self._gauge.claim(layout.CHUNK_BYTES)
            return own.vouch(slot, self._named)

    def _allowed(self, depth: int) -> Allowed:
        """Which slots may come along: what is freed meanwhile must not be written to any more."""
        return self._named if depth == self._depth else self._opened.lineage[depth].allowed

    def _named(self, slots: Iterable[int]) -> Sequence[int]:
        return self._opened.named(slots)

    # ---- going

    def evict(self, keep_bytes: int, depth: int | None = None) -> int:
        """Leave to the store what it has, the oldest first, until no more than `keep_bytes` are used here; how many
        slots became holes. Of this disk, or of the ancestor at `depth`; nothing while another process has it open."""
        depth = self._depth if depth is None else depth
        if (found := self._caches.get(depth)) is None or self.resident_bytes(depth) <= keep_bytes:
            return 0
        opened = self._opened
        sharing = opened.sharing if depth == self._depth else opened.lineage[depth].sharing
        # Under `flushing` no batch is cut and no slot freed: what is chosen stays named, and is not to be sent again.
        with opened.flushing, sharing.alone() as is_alone:
            slots = found.chill(self._choose_victims(found, depth, keep_bytes)) if is_alone else ()
            if not slots:
                return 0
            try:
                if not self._traffic.wait_for_readers():
                    found.rewarm(slots)
                    return 0
                opened.lookaside.clear()
                crashpoint.reach("evict: cold, not punched")
                for first, count in pieces.contiguous(sorted(slots)):
                    opened.slab_at(depth).punch(first, count)
            finally:
                found.chilled(slots)
        return len(slots)

    def evict_some(self, size: int) -> int:
        """As `evict`, until about `size` bytes less are used here; what is being read as well, if need be."""
        if self._depth not in self._caches:
            return 0
        keep_bytes = max(0, self.resident_bytes(self._depth) - size)
        return self.evict(keep_bytes) or self.evict(keep_bytes)  # what was read is spared by the first

    def _choose_victims(self, found: Cache, depth: int, keep_bytes: int) -> Sequence[int]:
        surplus = min(_EVICT_SLOTS, -(-(self.resident_bytes(depth) - keep_bytes) // layout.CHUNK_BYTES))
        if surplus <= 0:
            return []
        old = found.take_unread()
        self._opened.lookaside.clear()  # what it reads is not noted
        if depth != self._depth:
            return old[:surplus]
        with self._lock:  # what is to be sent again has a place, too
            kept = self._debt.held | self._ledger.unsent
        return [slot for slot in self._named(old) if slot not in kept][:surplus]

    def resident_bytes(self, depth: int) -> int:
        """What of the slab at this depth is here, and not only in the store."""
        if depth != self._depth:
            return self._opened.lineage[depth].slab.allocated_bytes()
        with self._lock:
            return (self._ledger.slots.count_used() - self._caches[depth].count) * layout.CHUNK_BYTES

    # ---- slots of our own

    def is_cold(self, slot: int) -> bool:
        """Whether this slot of our own is in the store only."""
        return self._depth in self._caches and self._caches[self._depth].is_cold(slot)

    def forget(self, slots: Iterable[int]) -> None:
        """These slots of our own hold nothing any more. Under the lock."""
        if own := self._caches.get(self._depth):
            own.forget(slots)
