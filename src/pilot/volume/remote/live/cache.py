"""Slots of one slab whose content is in the store only, and how they come here.

    read ─► is_cold? ─► fetch: one range of a segment (the slot, and cold ones after it) ─ hash ─ slab ─ warm
    hydrate: the same for everything that is cold, in the order of the log

A slot becomes warm in memory when its content is in the slab, and in meta.db only after a sync (`persist`): a crash in
between fetches it again, which is harmless because what is cold never changes. When a segment is gone, its chunk is
looked for once more (`relocate`). What is not what was stored is asked for once more, by itself: it may have been
damaged on its way. What cannot be had within a deadline, or comes damaged twice, is EIO and a named chunk; never zeros.

The caller sees to it that a slot it asks for is not freed meanwhile; `allowed` says which of those after it may come
along. Evicting and persisting exclude each other; `sharing` sees to it that no other process has the slab
open while something is evicted.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from .... import errors
from ... import layout, names
from ...disk import meta, slab
from ...names import Place
from ..log import segment
from ..log.codec import Codec, Damaged
from ..objects import store

_log = logging.getLogger(__name__)
_READ_AHEAD = 32
_DEADLINE_S = 20.0
Allowed = Callable[[Iterable[int]], Sequence[int]]


class Cache:
    """See the module. The slab and meta (writable) stay the caller's."""

    def __init__(
        self, disk: str, data: slab.Slab, books: meta.Meta, objects: store.Store, packer: Callable[[], Codec],
        find_again: Callable[[Cache], None] = lambda cache: None,
    ) -> None:  # fmt: skip
        self._disk = disk
        self._slab = data
        self._meta = books
        self._objects = objects
        self._packer = packer
        self._find_again = find_again
        self._finding = threading.Lock()
        self._bits = bytearray()
        self._lock = threading.Condition()
        self._coming: set[int] = set()
        self._warmed: list[int] = []
        self._reads: bytearray | None = None
        self._persisting = threading.Lock()
        self._set(books.cold(), 1)
        if self._bits:
            data.reserve(len(self._bits))

    def is_cold(self, slot: int) -> bool:
        """Whether the slot's content is in the store only."""
        return slot < len(self._bits) and self._bits[slot] == 1

    @property
    def count(self) -> int:
        """How many slots are cold."""
        return self._bits.count(1)

    def forget(self, slots: Iterable[int]) -> None:
        """These slots were freed."""
        with self._lock:
            self._set([slot for slot in slots if slot < len(self._bits)], 0)

    def fetch(self, slots: Iterable[int], allowed: Allowed) -> None:
        """Have these slots in the slab when it returns; OSError (EIO)."""
        for slot in slots:
            while self.is_cold(slot):
                self._fetch_one(slot, allowed)

    def hydrate(self, slot: int, allowed: Allowed) -> None:
        """As `fetch`, of a slot that may be gone meanwhile; one that is just coming is left to who fetches it."""
        if self.is_cold(slot) and slot not in self._coming and list(allowed([slot])):
            self._fetch_one(slot, allowed)

    def vouch(self, slot: int, allowed: Allowed) -> bool:
        """Have a slot that the store has, and that is `allowed`, in the slab as the store has it; whether it was there
        as something else. OSError (EIO) when the store's content cannot be had."""
        if not list(allowed([slot])):
            return False  # freed meanwhile
        self.fetch([slot], allowed)
        at = self._meta.place(slot)
        if at is None:
            return False  # the store does not have it (yet)
        local = slab.aligned(layout.CHUNK_BYTES)
        self._slab.read(slot, 0, local)
        packer = self._packer()
        if segment.is_chunk(local, at, packer):
            return False
        stored = self._load(at, packer)
        if stored == local:
            return False  # packed by another version of zstd
        _log.error("slot %d of %s is damaged here: put right from the store", slot, self._disk)
        self._slab.write(slot, 0, memoryview(stored))
        self._slab.sync()
        return True

    def _load(self, at: Place, packer: Codec) -> bytes:
        """What is stored at a place; OSError."""
        key = names.segment(self._disk, at.stamp)
        try:
            data = store.retry(lambda: self._objects.get_range(key, at.offset, at.length), _DEADLINE_S)
            return segment.decode_chunk(data, at, packer)
        except errors.PilotError as error:
            raise _io_error(f"chunk {at.number} of {key}: {error}") from error

    def cold_slots(self) -> Sequence[int]:
        """All cold slots, in the order of the log."""
        places = self._meta.places()
        return sorted((slot for slot in places if self.is_cold(slot)), key=lambda slot: places[slot][:2])

    def _fetch_one(self, slot: int, allowed: Allowed) -> None:
        with self._lock:
            while slot in self._coming:
                self._lock.wait(_DEADLINE_S)
            if not self.is_cold(slot):
                return
            self._coming.add(slot)
        taken = {slot}
        try:
            at = self._place(slot)
            try:
                self._bring(self._window(slot, at, allowed, taken), slot)
            except errors.NotFound as error:
                self._bring({slot: self._new_place(slot, at, error)}, slot)
            except Damaged as error:
                _log.warning("%s; asking again", error)
                self._bring({slot: at}, slot)
        except errors.PilotError as error:
            raise _io_error(str(error)) from error
        finally:
            with self._lock:
                self._coming -= taken
                self._lock.notify_all()

    def _place(self, slot: int) -> Place:
        at = self._meta.place(slot)
        if at is None:
            raise errors.NotFound(f"slot {slot} of {self._disk} is cold, and has no place in the store")
        return at

    def _new_place(self, slot: int, old: Place, gone: errors.NotFound) -> Place:
        """Where the slot is, now that its segment is gone; `gone` when that is all that is known."""
        with self._finding:
            if self._place(slot) == old:
                try:
                    store.retry(lambda: self._find_again(self), _DEADLINE_S)
                except errors.PilotError as error:
                    raise errors.NotFound(f"{gone}; looked for it again: {error}") from error
        if (at := self._place(slot)) == old:
            raise gone
        return at

    def _window(self, slot: int, at: Place, allowed: Allowed, taken: set[int]) -> dict[int, Place]:
        """The slot, and those right behind it in the segment."""
        behind = self._meta.places_after(at, _READ_AHEAD)
        window, end = {slot: at}, at.offset + at.length
        welcome = set(allowed(behind))
        with self._lock:
            for other, place in behind.items():
                if place.offset == end and other in welcome and self.is_cold(other) and other not in self._coming:
                    window[other] = place
                    end += place.length
                    taken.add(other)
                    self._coming.add(other)
        return window

    def _bring(self, window: dict[int, Place], wanted: int) -> None:
        first = window[wanted]
        length = sum(place.length for place in window.values())
        key = names.segment(self._disk, first.stamp)
        try:
            data = store.retry(lambda: self._objects.get_range(key, first.offset, length), _DEADLINE_S)
            packer = self._packer()
        except errors.NotFound as error:
            raise errors.NotFound(f"chunk {first.number} of {key}: {error}") from error
        except errors.PilotError as error:
            raise errors.PilotError(f"chunk {first.number} of {key}: {error}") from error
        for slot, place in window.items():
            start = place.offset - first.offset
            try:
                plain = segment.decode_chunk(memoryview(data)[start : start + place.length], place, packer)
            except Damaged as error:
                if slot == wanted:
                    raise Damaged(f"{key}: {error}") from error
                _log.error("%s: %s", key, error)
                continue
            self._slab.write(slot, 0, memoryview(plain))
            with self._lock:
                self._set([slot], 0)
                self._warmed.append(slot)

    def persist(self) -> None:
        """Write down what has come, so that it need not come again."""
        with self._persisting:
            with self._lock:
                warmed, self._warmed = self._warmed, []
            if warmed:
                self._slab.sync()
                self._meta.set_cold(warmed, cold=False)

    def chill(self, slots: Sequence[int]) -> Sequence[int]:
        """These slots are in the store only from now on, but for those that are just coming; which. Nobody fetches them
        before `chilled`: the caller punches them in between, once nobody reads them any more."""
        with self._persisting:
            with self._lock:
                # Whoever fetches one takes it out of `_coming` when done: it must not be in there for us, too.
                gone = set(slots) - self._coming
                self._coming |= gone
                self._warmed = [slot for slot in self._warmed if slot not in gone]
                self._set(gone, 1)
            if gone:
                self._meta.set_cold(gone, cold=True)
        return sorted(gone)

    def chilled(self, slots: Sequence[int]) -> None:
        """They are holes now."""
        with self._lock:
            self._coming.difference_update(slots)
            self._lock.notify_all()

    def rewarm(self, slots: Sequence[int]) -> None:
        """Take back `chill`: they are still in the slab."""
        with self._lock:
            self._set(slots, 0)
            self._warmed += slots

    def note_reads(self, slots: Sequence[int]) -> None:
        """These were read just now: others are evicted before them."""
        if self._reads is not None:
            for slot in slots:
                if slot < len(self._reads):
                    self._reads[slot] = 1

    def take_unread(self) -> list[int]:
        """What could be left to the store: slots that are in both and were not read since this was asked last, in the
        order of the log."""
        places = sorted(self._meta.places().items(), key=lambda pair: pair[1][:2])
        found = [slot for slot, _ in places if not self.is_cold(slot) and not self._was_read(slot)]
        self.forget_reads()
        return found

    def _was_read(self, slot: int) -> bool:
        return self._reads is not None and slot < len(self._reads) and self._reads[slot] == 1

    def forget_reads(self) -> None:
        """Begin to note what is read, anew; sized for what there is now."""
        self._reads = bytearray(self._slab.slots_written())

    def _set(self, slots: Iterable[int], value: int) -> None:
        for slot in slots:
            if slot >= len(self._bits):
                self._bits.extend(bytes(slot + 1 - len(self._bits)))
            self._bits[slot] = value


def _io_error(text: str) -> OSError:
    _log.error("%s", text)
    return OSError(errno.EIO, text)


def slots_of(places: Iterable[int], depth: int) -> list[int]:
    """The slots among places that the disk at `depth` owns."""
    return [layout.number_of(at) for at in places if at and layout.depth_of(at) == depth]
