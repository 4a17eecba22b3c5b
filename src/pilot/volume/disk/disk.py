"""One disk, open for writing: reads, writes, trims and flushes of many threads over the pure books (`ledger`).

    write   wait until nobody writes these chunks ─ ledger.target ─ slab.write ─ ledger.publish
    read    ledger.places ─ slab.read                      (registered, so that its slots are not given out meanwhile)
    flush, commit     `stability`          checkpoints, restores, forks     `roots`
    batches           `outbox`             what is here, and what is not    `warmth`

Who may go on is `traffic`'s to say; what the parts share, and the two locks, is in `opened`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import structs

from ... import errors
from ...ids import CheckpointId
from ...kernel import files
from .. import crashpoint, facts, layout
from ..books import delta, ledger, map, pieces
from ..books.pieces import Piece
from ..checkpoint import Checkpoint
from ..facts import Facts
from . import lookaside, meta, room, sharing, slab
from .ahead import Ahead
from .debt import Debt
from .notes import Notes
from .opened import Opened
from .outbox import Outbox
from .roots import Roots
from .stability import Stability
from .traffic import Traffic
from .warmth import Warmth

_CHUNK = layout.CHUNK_BYTES
_PlacesOf = Callable[[int, int], list[int]]
_Learn = Callable[[int, list[int]], None]


def _learn_nothing(first: int, places: list[int]) -> None:
    """Of a content that nobody else serves."""


def create(directory: str, known: Facts, root: bytes | None = None) -> None:
    """Fill an empty directory with a new disk: one hole, or a fork that starts from `root`. Stable when it returns."""
    slab.Slab(directory, create=True).close()
    sharing.Readers(directory).close()  # now, because the filesystem may be full later
    meta.Meta.create(directory, known, root or map.empty_root(known.size_bytes))
    files.sync_all(directory)


class Disk:
    """See the module. `lineage` are the directories of all ancestors, the first disk first.

    `delta_fd` (the caller's) is the log of changes that outlives this process; None where nobody could ask for them.
    """

    def __init__(self, directory: str, lineage: Sequence[str], delta_fd: int | None = None) -> None:
        self.directory = directory
        self.opened = opened = Opened(directory, lineage, delta_fd)
        self._lock, self._ledger, self._slab, self._depth = opened.lock, opened.ledger, opened.slab, opened.depth
        self._gauge = room.Gauge(directory, lambda: self._ledger.facts.local.quota_bytes)
        self._notes = Notes(opened)
        self._traffic = Traffic(opened)
        self.debt = Debt(opened)
        self.warmth = Warmth(opened, self._traffic, self.debt, self._gauge)
        self._ahead = Ahead(opened, self._traffic, self.debt, self._notes, self._gauge)
        self._stability = Stability(opened, self._traffic, self.debt, self._notes, self._ahead, self.warmth)
        self.roots = Roots(opened, self._traffic, self.debt, self._notes, self._ahead, self._stability)
        self.outbox = Outbox(opened, self.debt, self._stability, self.roots, self.warmth)
        self._relief = room.Relief(self, directory, self._gauge)
        self.on_read: Callable[[int, int], None] | None = None  # told of reads of the head: offset, length
        self._stability.punch_free_slots()
        self.roots.drop_unpublished()

    # ---- what it is

    @property
    def size_bytes(self) -> int:
        """Size of the disk."""
        return self._ledger.facts.size_bytes

    def facts(self) -> Facts:
        """All facts, checkpoints among them."""
        with self._lock:
            return self._ledger.facts

    def change_facts(self, edit: Callable[[Facts], Facts]) -> None:
        """Store other facts: what `edit` makes of them."""
        with self.opened.flushing:
            with self._lock:
                self._ledger.facts = edit(self._ledger.facts)
            self._stability.commit_now()

    def checkpoints(self) -> Sequence[Checkpoint]:
        """All checkpoints, the oldest first."""
        return self.facts().list_checkpoints()

    def resize(self, size_bytes: int) -> None:
        """Grow; StateError when it would shrink."""
        if layout.check_size(size_bytes) < self.size_bytes:
            raise errors.StateError(f"resize to {size_bytes} bytes: a disk of {self.size_bytes} does not shrink")
        with self.opened.flushing:
            with self._lock:
                self._ledger.resize(size_bytes)
                self._ledger.facts = structs.replace(self._ledger.facts, size_bytes=size_bytes)
            self._stability.commit_now()
            self.opened.lookaside.set_size(size_bytes)

    def usage(self) -> Mapping[str, int]:
        """Bytes: what the disk holds of its own (`used`), and what that takes on the host (`allocated`)."""
        with self._lock:
            used = self._ledger.slots.count_used() - self._ahead.count_unwritten()
            unsent = self.debt.owed_bytes
        return {
            "used_bytes": used * _CHUNK, "allocated_bytes": self._slab.allocated_bytes(),
            "unsent_bytes": unsent, "cold_bytes": self.warmth.cold_bytes,
        }  # fmt: skip

    def places(self, chunks: Iterable[int]) -> list[int]:
        """Where these chunks of the head are now; those beyond its end are left out."""
        end = self.size_bytes // _CHUNK
        with self._lock:
            return [at for chunk in chunks if chunk < end for at in self._ledger.places(chunk, 1)]

    def use_lookaside(self, table: lookaside.Table) -> None:
        """Who answers requests without us is told what it needs from now on; before anybody else uses the disk."""
        self.opened.use_lookaside(table)

    # ---- reading

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into` from the head."""
        if (note := self.on_read) is not None:
            note(offset, len(into))
        self._read(offset, into, self._ledger.places, self._learn)

    def reader(self, name: CheckpointId) -> Callable[[int, memoryview], None]:
        """A function as `read`, of a checkpoint; NotFound."""
        with self._lock:
            root = self._ledger.root(facts.CHECKPOINT + name)
        frozen = map.ChunkMap(root, self._depth, self.opened.load_page)
        return lambda offset, into: self._read(offset, into, frozen.places)

    def _learn(self, first: int, places: list[int]) -> None:
        """They were read, so they are in the slabs, and stay there while our reading keeps them."""
        with self._lock:
            if self.debt.fenced is None and self._ledger.places(first, len(places)) == places:
                self.opened.lookaside.learn(first, places, False)

    def _read(self, offset: int, into: memoryview, places_of: _PlacesOf, learn: _Learn = _learn_nothing) -> None:
        try:
            self._read_once(offset, into, places_of, learn)
        except OSError as error:  # no room to put a cold chunk into
            self._relief.repeat(lambda: self._read_once(offset, into, places_of, learn), error)

    def _read_once(self, offset: int, into: memoryview, places_of: _PlacesOf, learn: _Learn) -> None:
        parts = pieces.split(offset, len(into))
        with self._traffic.reading():
            with self._lock:
                places = places_of(parts[0].chunk, len(parts)) if parts else []
            self.debt.check_fence()
            self.warmth.warm(places)
            for first, last in pieces.runs(places):
                start, end = parts[first].start, parts[last].start + parts[last].length
                self._read_place(places[first], parts[first].offset, into[start:end])
            if parts:
                learn(parts[0].chunk, places)

    def _read_place(self, at: int, offset: int, into: memoryview) -> None:
        if at == layout.HOLE:
            into[:] = bytes(len(into))
        else:
            self.opened.slab_at(layout.depth_of(at)).read(layout.number_of(at), offset, into)

    # ---- writing

    def write(self, offset: int, data: memoryview) -> None:
        """Write to the head; in the page, slot and error rules of `ledger`. Not stable before `flush`."""
        parts = pieces.split(offset, len(data))
        if not parts:
            return
        self.debt.wait_for_room()
        era = self._ledger.era
        try:
            self._write_all(parts, data, era)
        except OSError as error:
            self._relief.repeat(lambda: self._write_all(parts, data, era), error)
        self._make_room()

    def _write_all(self, parts: list[Piece], data: memoryview, era: int) -> None:
        with self._traffic.writing(parts[0].chunk, len(parts), era):
            zero = [piece.whole and pieces.is_zero(data[piece.start : piece.start + _CHUNK]) for piece in parts]
            for chunk_is_zero, group in itertools.groupby(zip(parts, zero, strict=True), key=lambda pair: pair[1]):
                part = [piece for piece, _ in group]
                if chunk_is_zero:
                    self._trim_chunks(part[0].chunk, len(part))
                else:
                    self._write_pieces(part, data)

    def _make_room(self) -> None:
        """Flush when many changes are noted and not stored."""
        if self._notes.is_filling:
            self.flush()

    def _write_pieces(self, parts: list[Piece], data: memoryview) -> None:
        """Within `Traffic.writing`: nobody else changes where these chunks are, between the two locked parts."""
        with self._lock:
            places = self._ledger.places(parts[0].chunk, len(parts))
            targets = [self._ledger.target(piece.chunk, at) for piece, at in zip(parts, places, strict=True)]
        try:
            self._gauge.claim(sum(target.source is not None for target in targets) * _CHUNK)
            for first, last in pieces.slot_runs(parts, targets):
                end = parts[last].start + parts[last].length
                self._write_run(parts[first], targets[first], data[parts[first].start : end])
        except BaseException:
            with self._lock:
                for target in targets:
                    if target.source is not None:
                        self._ledger.abandon_slot(target.slot)
            raise
        with self._lock:
            self._publish(parts, places, targets)
        self.debt.tell()

    def _publish(self, parts: list[Piece], places: list[int], targets: list[ledger.Target]) -> None:
        """The slab has it: note it first, where our death does not reach it, then let others see it. Under the lock."""
        self._notes.mark_written()
        crashpoint.reach("write: data is written")
        for change in pieces.changes(parts, targets, self._depth):
            self._notes.note(change)
        for piece, at, target in zip(parts, places, targets, strict=True):
            if target.source is not None:
                self._ledger.publish(piece.chunk, at, target.slot)
        if self.debt.fenced is None:
            written = [layout.place(self._depth, target.slot) for target in targets]
            self.opened.lookaside.learn(parts[0].chunk, written, True)
        if targets[-1].source is not None:
            self._ahead.follow(parts[-1].chunk)

    def _write_run(self, piece: Piece, target: ledger.Target, data: memoryview) -> None:
        if piece.whole or not target.source:
            # Whole chunks, in place, or into a slot that was a hole and reads as zeros around the piece.
            self._slab.write(target.slot, piece.offset, data)
            return
        merged = slab.aligned(_CHUNK)
        with self._traffic.reading():
            self.debt.check_fence()
            self.warmth.warm([target.source])
            self._read_place(target.source, 0, merged)
        merged[piece.offset : piece.offset + piece.length] = data
        self._slab.write(target.slot, 0, merged)

    # ---- trimming

    def trim(self, offset: int, length: int) -> None:
        """Make this range read as zeros; whole chunks become holes."""
        length = min(length, self.size_bytes - offset)
        era = self._ledger.era
        try:
            self._trim_all(offset, length, era)
        except OSError as error:  # what is left of a chunk of which a part goes may need a new slot
            self._relief.repeat(lambda: self._trim_all(offset, length, era), error)
        self._make_room()

    def _trim_all(self, offset: int, length: int, era: int) -> None:
        parts = pieces.split(offset, length) if length < 4 * _CHUNK else []
        if parts:
            for piece in parts:
                self._zero_piece(piece, era)
            return
        first, last = -(-offset // _CHUNK), (offset + length) // _CHUNK
        head = pieces.split(offset, first * _CHUNK - offset)
        for piece in head + pieces.split(last * _CHUNK, offset + length - last * _CHUNK):
            self._zero_piece(piece, era)
        with self._traffic.writing(first, last - first, era):
            self._trim_chunks(first, last - first)

    def _zero_piece(self, piece: Piece, era: int) -> None:
        with self._traffic.writing(piece.chunk, 1, era):
            if piece.whole:
                self._trim_chunks(piece.chunk, 1)
                return
            with self._lock:
                hole = self._ledger.places(piece.chunk, 1) == [layout.HOLE]
            if not hole:
                self._write_pieces([structs.replace(piece, start=0)], slab.aligned(piece.length))

    def _trim_chunks(self, first: int, count: int) -> None:
        with self._lock:
            self.opened.lookaside.forget(first, count)
            if self._ledger.trim(first, count):
                self._notes.note(delta.Change(first, count, layout.HOLE))
        self.debt.tell()

    # ---- stable, and gone

    def flush(self) -> None:
        """All writes that were acknowledged before this call are stable when it returns."""
        self._stability.flush()

    def commit(self) -> None:
        """As `flush`, and meta.db has everything: nothing is left to the journal."""
        self._stability.commit()

    def close(self) -> None:
        """Flush and let go. Nobody may be in any other method."""
        self.debt.waits_for_store = False
        try:
            if self.debt.fenced is None:
                self.commit()
        finally:
            self.opened.close()

    # ---- `room.Evictable`

    def settle(self) -> None:
        """Store the map, and free the slots that only the older one named. Waits for no store."""
        self.commit()

    def evict_some(self, size: int) -> int:
        """Leave about `size` bytes to the store; how many chunks."""
        return self.warmth.evict_some(size)

    def await_store(self) -> bool:
        """Wait a moment for what is on its way to the store; False when nothing is."""
        return self.debt.await_store()

    def be_patient(self) -> None:
        """Somebody waits for room."""
        self.debt.patience += 1
