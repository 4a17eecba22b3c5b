"""One disk, open for writing: reads, writes, trims and flushes of many threads over the pure books (`ledger`).

    write   wait until nobody writes these chunks ─ ledger.target ─ slab.write ─ ledger.publish
    read    ledger.places ─ slab.read                      (registered, so that its slots are not given out meanwhile)
    flush   slab.sync ─ journal.append; or, when that is full or slots are to be freed:
    commit  ledger.take ─ slab.sync ─ meta.commit ─ ledger.stored ─ punch and free the slots that nobody reads
    cut     wait until no write is under way ─ ledger.pin ─ then as commit, with writers running again

What a crash leaves between any two of these is said in `ledger`. Locks: `_books` guards the ledger and is never held
over I/O, except to load a page of the map; `_flushing` serialises commits. Ancestors' slabs and pages are opened
read-only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ... import errors
from ...ids import CheckpointId
from .. import crashpoint, facts, layout, lockfile
from ..books import batch, delta, ledger, map
from ..checkpoint import Checkpoint
from ..facts import Facts
from . import journal, lookaside, meta, room, sharing, slab

if TYPE_CHECKING:  # what speaks to a store is loaded only where there is one
    from .. import names
    from ..remote.live import cache

_log = logging.getLogger(__name__)
_CHUNK = layout.CHUNK_BYTES
_ZERO_CHUNK = bytes(_CHUNK)
_HURRY_BYTES = 8 << 20
_PATIENCE_S = 1.0
_READERS_S = 0.1  # flushes wait meanwhile
_EVICT_SLOTS = 4096
_RETIRED_SLOTS = 256  # with more than that, a flush stores the map, which frees them
_NOT_CLEAN = -1
_NO_TICKET = -1  # nobody reads these slots any more
# Of a stream: how much is reserved ahead of it, from when on, and which part of the store's dirty limit that may take.
_AHEAD_CHUNKS, _STREAK_CHUNKS, _AHEAD_SHARE = 256, 2, 8
_PlacesOf = Callable[[int, int], list[int]]
_Learn = Callable[[int, list[int]], None]


def _learn_nothing(first: int, places: list[int]) -> None:
    """Of a content that nobody else serves."""


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """The part of a request that lies in one chunk."""

    chunk: int
    offset: int
    start: int
    length: int

    @property
    def whole(self) -> bool:
        return self.length == _CHUNK


def split(offset: int, length: int) -> list[Piece]:
    """A request as pieces; `start` is where in the request's buffer the piece lies."""
    pieces = []
    done = 0
    while done < length:
        chunk, inside = divmod(offset + done, _CHUNK)
        take = min(_CHUNK - inside, length - done)
        pieces.append(Piece(chunk, inside, done, take))
        done += take
    return pieces


def create(directory: str, facts: Facts, root: bytes | None = None) -> None:
    """Fill an empty directory with a new disk: one hole, or a fork that starts from `root`. Stable when it returns."""
    slab.Slab(directory, create=True).close()
    sharing.Readers(directory).close()  # now, because the filesystem may be full later
    meta.Meta.create(directory, facts, root or map.empty_root(facts.size_bytes))
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@dataclasses.dataclass(frozen=True, slots=True)
class _Taken:
    """A commit about to be stored, and where the log of changes, the slab and the readers were."""

    commit: ledger.Commit
    position: int
    unwritten: bool
    ticket: int


class Disk:
    """See the module. `lineage` are the directories of all ancestors, the first disk first.

    `delta_fd` (the caller's) is the log of changes that outlives this process; None where nobody could ask for them.

    With an object store (`remote.link`) `dirty` is set when there is something to send, `hurry` when it should be
    soon. `patience` counts the seconds that somebody waited for the store, which is not being stuck.
    """

    def __init__(self, directory: str, lineage: Sequence[str], delta_fd: int | None = None) -> None:
        self.directory = directory
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self._stack)
            self._lock_fd = lockfile.take(
                os.path.join(directory, "lock"), f"open disk: {directory}: another process has it open"
            )
            self._stack.callback(os.close, self._lock_fd)
            self._sharing = sharing.Readers(directory)
            self._stack.callback(self._sharing.close)
            self._meta = meta.Meta(directory)
            self._stack.callback(self._meta.close)
            is_limited = self._meta.facts().local.cache_bytes is not None
            self._ancestors = [_Ancestor(path, self._stack, is_limited=is_limited) for path in lineage]
            self._slab = slab.Slab(directory)
            self._stack.callback(self._slab.close)
            self._books = threading.Condition()
            self._flushing = threading.Lock()
            self._depth = len(lineage)
            own_fd = None if delta_fd is not None else delta.create()
            self._delta = delta.DeltaLog(own_fd if delta_fd is None else delta_fd)  # type: ignore[arg-type]
            self._stack.callback(self._delta.close)
            if own_fd is not None:
                os.close(own_fd)
            self._journal = journal.Journal(directory)
            self._stack.callback(self._journal.close)
            self._journaled = 0
            self._replayed: list[delta.Change] = []
            self._noted = self._meta.facts().local.noted
            self._ledger = ledger.Ledger(self._meta, self._depth, self._load_ancestor, self._changes)
            self._check_slab()
            # Whether somebody wrote since it was opened; a killed predecessor, too, as far as it left a trace.
            self._touched = self._delta.era == self._ledger.era and self._delta.position > self._journaled
            if self._delta.era != self._ledger.era or self._delta.position < self._journaled:
                self._delta.reset(self._ledger.era, self._journaled)
                self._journaled = self._delta.position
            undo.pop_all()
        self._busy: set[int] = set()
        self._gate = False
        self._tickets = itertools.count()
        self._readers: dict[int, None] = {}
        self._waiting_free: list[tuple[int, tuple[int, ...]]] = []
        self._flush_done = 0
        self._flush_asked = 0
        self._unwritten = True  # a killed predecessor may have written what it never synced
        self.dirty, self.hurry = threading.Event(), threading.Event()
        self.patience = 0
        self.fenced: str | None = None
        self.dirty_cap_bytes: int | None = None
        self.waits_for_store = False
        self._held: frozenset[int] = frozenset()
        self._covered = 0
        self._caches: dict[int, cache.Cache] = {}
        self._gauge = room.Gauge(directory)
        self._relief = room.Relief(self, directory, self._gauge)
        self.on_read: Callable[[int, int], None] | None = None  # told of reads of the head: offset, length
        self._lookaside: lookaside.Table = lookaside.Nobody()
        # What may be reserved and not written; of a predecessor that was killed, anything it had noted.
        self._ahead = [change for change in self._replayed if change.place]
        self._punch_free_slots()
        self._drop_unpublished()

    def _changes(self, era: int) -> list[delta.Change]:
        """What was acknowledged and is not in the stored map. What the journal has comes first: if the delta has the
        same, it has everything after it too."""
        if not self._journal.exists and self._delta.era == era:
            self._noted = max(self._noted, self._delta.first)  # of a time when there were no journals
        changes, self._journaled = self._journal.replay(era, self._noted)
        if self._delta.position >= self._journaled:  # otherwise somebody had the disk open without it, after it
            changes += self._delta.changes(era)
        self._replayed = changes
        return changes

    def _check_slab(self) -> None:
        """Growing a slab that was truncated would make zeros of what is gone."""
        needed, there = len(self._ledger.slots), self._slab.slots_written()
        if there < needed:
            raise errors.HostError(
                f"open disk: {self._slab.path}: ends after slot {there} of {needed}: it was truncated"
            )

    # ---- what it is

    @property
    def size_bytes(self) -> int:
        """Size of the disk."""
        return self._ledger.facts.size_bytes

    def facts(self) -> Facts:
        """All facts, checkpoints among them."""
        with self._books:
            return self._ledger.facts

    def checkpoints(self) -> Sequence[Checkpoint]:
        """All checkpoints, the oldest first."""
        return self.facts().list_checkpoints()

    def usage(self) -> dict[str, int]:
        """Bytes: what the disk holds of its own (`used`), and what that takes on the host (`allocated`)."""
        with self._books:
            used = self._ledger.slots.count_used() - self._count_reserved()
            unsent = len(self._ledger.unsent) + len(self._held)
        cold = sum(found.count for found in self._caches.values())
        return {
            "used_bytes": used * _CHUNK, "allocated_bytes": self._slab.allocated_bytes(),
            "unsent_bytes": unsent * _CHUNK, "cold_bytes": cold * _CHUNK,
        }  # fmt: skip

    def use_lookaside(self, table: lookaside.Table) -> None:
        """Who answers requests without us is told what it needs from now on; before anybody else uses the disk."""
        for depth, ancestor in enumerate(self._ancestors):
            table.set_slab(depth, ancestor.slab.fd)
        table.set_slab(self._depth, self._slab.fd)
        self._lookaside = table

    def _count_reserved(self) -> int:
        """Slots that were reserved and not written yet. Under `_books`."""
        runs = ((layout.number_of(reserved.place), reserved.count) for reserved in self._ahead)
        return sum(count for first, reach in runs for _, count in self._slab.holes(first, reach))

    # ---- reading

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into` from the head."""
        if (note := self.on_read) is not None:
            note(offset, len(into))
        self._read(offset, into, self._ledger.places, self._learn)

    def reader(self, name: CheckpointId) -> Callable[[int, memoryview], None]:
        """A function as `read`, of a checkpoint; NotFound."""
        with self._books:
            root = self._ledger.root(facts.CHECKPOINT + name)
        frozen = map.ChunkMap(root, self._depth, self._load_page)
        return lambda offset, into: self._read(offset, into, frozen.places)

    def _learn(self, first: int, places: list[int]) -> None:
        """They were read, so they are in the slabs, and stay there while our reading keeps them."""
        with self._books:
            if self.fenced is None and self._ledger.places(first, len(places)) == places:
                self._lookaside.learn(first, places, False)

    def _read(self, offset: int, into: memoryview, places_of: _PlacesOf, learn: _Learn = _learn_nothing) -> None:
        try:
            self._read_once(offset, into, places_of, learn)
        except OSError as error:  # no room to put a cold chunk into
            self._relief.repeat(lambda: self._read_once(offset, into, places_of, learn), error)

    def _read_once(self, offset: int, into: memoryview, places_of: _PlacesOf, learn: _Learn) -> None:
        pieces = split(offset, len(into))
        with self._reading():
            with self._books:
                places = places_of(pieces[0].chunk, len(pieces)) if pieces else []
            self._warm(places)
            for first, last in _runs(places):
                start, end = pieces[first].start, pieces[last].start + pieces[last].length
                self._read_place(places[first], pieces[first].offset, into[start:end])
            if pieces:
                learn(pieces[0].chunk, places)

    def _read_place(self, at: int, offset: int, into: memoryview) -> None:
        if at == layout.HOLE:
            into[:] = bytes(len(into))
        else:
            self._slab_of(at).read(layout.number_of(at), offset, into)

    # ---- writing

    def write(self, offset: int, data: memoryview) -> None:
        """Write to the head; in the page, slot and error rules of `ledger`. Not stable before `flush`."""
        pieces = split(offset, len(data))
        if not pieces:
            return
        self._wait_for_room()
        era = self._ledger.era
        try:
            self._write_all(pieces, data, era)
        except OSError as error:
            self._relief.repeat(lambda: self._write_all(pieces, data, era), error)
        self._make_room()

    def _write_all(self, pieces: list[Piece], data: memoryview, era: int) -> None:
        with self._writing(pieces[0].chunk, len(pieces), era):
            zero = [piece.whole and _is_zero(data[piece.start : piece.start + _CHUNK]) for piece in pieces]
            for chunk_is_zero, group in itertools.groupby(zip(pieces, zero, strict=True), key=lambda pair: pair[1]):
                part = [piece for piece, _ in group]
                if chunk_is_zero:
                    self._trim_chunks(part[0].chunk, len(part))
                else:
                    self._write_pieces(part, data)

    def _make_room(self) -> None:
        """Flush when many changes are noted and not stored."""
        if self._delta.is_filling:
            self.flush()

    def _write_pieces(self, pieces: list[Piece], data: memoryview) -> None:
        with self._books:
            places = self._ledger.places(pieces[0].chunk, len(pieces))
            targets = [self._ledger.target(piece.chunk, at) for piece, at in zip(pieces, places, strict=True)]
        try:
            self._gauge.claim(sum(target.source is not None for target in targets) * _CHUNK)
            for first, last in _slot_runs(pieces, targets):
                end = pieces[last].start + pieces[last].length
                self._write_run(pieces[first], targets[first], data[pieces[first].start : end])
        except BaseException:
            with self._books:
                for target in targets:
                    if target.source is not None:
                        self._ledger.abandon_slot(target.slot)
            raise
        with self._books:
            self._unwritten = True
            self._lookaside.set_clean(_NOT_CLEAN)  # whoever syncs for us would not tell us
            crashpoint.reach("write: data is written")
            for change in _changes(pieces, targets, self._depth):
                self._note(change)
            for piece, at, target in zip(pieces, places, targets, strict=True):
                if target.source is not None:
                    self._ledger.publish(piece.chunk, at, target.slot)
            if self.fenced is None:
                places = [layout.place(self._depth, target.slot) for target in targets]
                self._lookaside.learn(pieces[0].chunk, places, True)
            if targets[-1].source is not None:
                self._reserve_ahead(pieces[-1].chunk)
        self._tell()

    def _reserve_ahead(self, chunk: int) -> None:
        """Who wrote chunk after chunk goes on: what comes next needs nobody's decision. Under `_books`."""
        limit = self._ledger.streak(chunk, _AHEAD_CHUNKS)
        limit = next((n for n in range(limit) if chunk + 1 + n in self._busy), limit)
        if limit < _STREAK_CHUNKS or not self._may_reserve(limit):
            return
        reserved = self._ledger.reserve(chunk + 1, limit)
        if reserved is not None:
            self._slab.reserve(layout.number_of(reserved.place) + reserved.count)
            self._note(reserved)
            self._ahead.append(reserved)
            self._lookaside.learn(reserved.first, [at for _, at in reserved.places()], True)

    def _may_reserve(self, count: int) -> bool:
        unsent = (len(self._ledger.unsent) + len(self._held) + count) * _CHUNK
        has_time = self.dirty_cap_bytes is None or unsent <= self.dirty_cap_bytes // _AHEAD_SHARE
        return has_time and self.fenced is None and self._gauge.affords(count * _CHUNK)

    def _give_back(self) -> None:
        """What was reserved and never written becomes holes again, so that no stored map names what is none. While
        nobody writes."""
        for reserved in self._ahead:
            self._lookaside.forget(reserved.first, reserved.count)
        self._lookaside.settle()
        with self._books:
            for reserved in self._ahead:
                slot = layout.number_of(reserved.place)
                for first, count in self._slab.holes(slot, reserved.count):
                    self._give_back_run(reserved.first + first - slot, layout.place(self._depth, first), count)
            self._ahead.clear()

    def _give_back_run(self, chunk: int, at: int, count: int) -> None:
        """Chunks that are still where they were reserved become holes. Under `_books`. That is not noted, so a full log
        is no hindrance: until a map is stored without them, these slots are holes, which read the same."""
        there = [n for n, now in enumerate(self._ledger.places(chunk, count)) if now == at + n]
        for first, length in _contiguous(there):
            self._lookaside.forget(chunk + first, length)
            self._ledger.trim(chunk + first, length)

    def _write_run(self, piece: Piece, target: ledger.Target, data: memoryview) -> None:
        if piece.whole or not target.source:
            # Whole chunks, in place, or into a slot that was a hole and reads as zeros around the piece.
            self._slab.write(target.slot, piece.offset, data)
            return
        merged = slab.aligned(_CHUNK)
        with self._reading():
            self._warm([target.source])
            self._read_place(target.source, 0, merged)
        merged[piece.offset : piece.offset + piece.length] = data
        self._slab.write(target.slot, 0, merged)

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
        pieces = split(offset, length) if length < 4 * _CHUNK else []
        if pieces:
            for piece in pieces:
                self._zero_piece(piece, era)
            return
        first, last = -(-offset // _CHUNK), (offset + length) // _CHUNK
        for piece in split(offset, first * _CHUNK - offset) + split(last * _CHUNK, offset + length - last * _CHUNK):
            self._zero_piece(piece, era)
        with self._writing(first, last - first, era):
            self._trim_chunks(first, last - first)

    def _zero_piece(self, piece: Piece, era: int) -> None:
        with self._writing(piece.chunk, 1, era):
            if piece.whole:
                self._trim_chunks(piece.chunk, 1)
                return
            with self._books:
                hole = self._ledger.places(piece.chunk, 1) == [layout.HOLE]
            if not hole:
                self._write_pieces([dataclasses.replace(piece, start=0)], slab.aligned(piece.length))

    def _trim_chunks(self, first: int, count: int) -> None:
        with self._books:
            self._lookaside.forget(first, count)
            if self._ledger.trim(first, count):
                self._note(delta.Change(first, count, layout.HOLE))
        self._tell()

    def _note(self, change: delta.Change) -> None:
        """A change of the map is acknowledged soon. Under `_books`."""
        self._touched = True
        self._delta.append(change)
        self._lookaside.set_clean(_NOT_CLEAN)

    # ---- making it stable

    def flush(self) -> None:
        """All writes that were acknowledged before this call are stable when it returns."""
        with self._books:
            self._flush_asked += 1
            ticket = self._flush_asked
        with self._flushing:
            # Otherwise a flush that began after our call has covered us.
            if self._flush_done < ticket:
                with self._books:
                    covered = self._flush_asked
                if not self._append_to_journal():
                    self._commit()
                    self._ensure_journal()
                self._flush_done = covered
        self._wait_for_store(ticket)

    def commit(self) -> None:
        """As `flush`, and meta.db has everything: nothing is left to the journal."""
        with self._flushing:
            self._commit()

    def _wants_no_commit(self) -> bool:
        """Whether the journal can take what is not stable yet. Under `_flushing` and `_books`."""
        fits = self._journal.has_room(self._delta.position - self._journaled)
        return fits and not self._delta.is_filling and self._ledger.slots.count_retired() <= _RETIRED_SLOTS

    def _append_to_journal(self) -> bool:
        """All that was noted becomes stable; False when the map is to be stored instead. Under `_flushing`."""
        self._check_fence()
        with self._books:
            if not self._wants_no_commit():
                return False
            unwritten = self._take_unwritten()
            position, records = self._delta.position, self._delta.records(self._journaled)
        try:
            if unwritten or records:
                self._slab.sync()
            crashpoint.reach("flush: data is stable")
            if records:
                self._journal.append(self._ledger.era, self._journaled, records)
        except BaseException as error:
            with self._books:
                self._unwritten = self._unwritten or unwritten
            if room.is_full(error):
                return False  # the map has a reserve
            raise
        crashpoint.reach("flush: in the journal")
        with self._books:
            self._journaled = position
            self._tell_clean()
        return True

    def _ensure_journal(self) -> None:
        """There is one, if the filesystem has room for it. Under `_flushing`, with the map stored."""
        try:
            if not self._journal.exists:
                self._journal.create()
        except OSError as error:
            _log.warning("journal of %s: %s", self.directory, error)  # then every flush stores the map, as this one did

    def _take_unwritten(self) -> bool:
        """Whether the slab has to be synced. Under `_books`."""
        unwritten = self._lookaside.take_written() or self._unwritten  # taken whatever we know ourselves
        self._unwritten = False
        return unwritten

    def _tell_clean(self) -> None:
        """Whether a flush would have to do more than sync the slab. Under `_books`."""
        is_noted = self._delta.position == self._journaled and not self._unwritten
        clean = is_noted and not self.waits_for_store and self.fenced is None
        self._lookaside.set_clean(self._slab.fd if clean else _NOT_CLEAN)

    def _commit(self) -> None:
        """Store what `ledger.take` gives. Under `_flushing`."""
        self._check_fence()
        with self._books:
            taken = None if self._ahead else self._take()
        if taken is None:
            with self._gated():
                self._give_back()
                with self._books:
                    taken = self._take()
        self._store(taken)

    def _take(self) -> _Taken:
        """What is to be stored now. Under `_flushing` and `_books`."""
        position = self._delta.position
        if position != self._noted:
            self._ledger.facts = self._ledger.facts.replace_local(noted=position)
        return _Taken(self._ledger.take(), position, self._take_unwritten(), next(self._tickets))

    def _store(self, taken: _Taken) -> None:
        """Under `_flushing`."""
        commit = taken.commit
        try:
            if taken.unwritten or commit.pages:
                self._slab.sync()
            crashpoint.reach("commit: data is stable")
            if commit.pages or commit.roots or commit.facts or commit.dropped_roots or commit.dropped_pages:
                self._meta.commit(commit)
        except BaseException as error:
            with self._books:
                self._unwritten = self._unwritten or taken.unwritten
                self._ledger.not_stored(commit)
            if not room.is_full(error):  # then it may be stored, for all we know
                self._journal.stop()
            raise
        crashpoint.reach("commit: map is stored")
        with self._books:
            self._ledger.stored(commit)
            if self._delta.era == self._ledger.era:
                self._delta.drop_until(taken.position)
            else:
                self._delta.reset(self._ledger.era)
            self._journal.restart()
            self._noted = taken.position
            self._journaled = max(taken.position, self._delta.first)
            self._tell_clean()
        if commit.roots or commit.facts or commit.pages:
            self._tell()
        if commit.retired:
            self._waiting_free.append((taken.ticket, commit.retired))
        self._free_retired()

    def _free_retired(self) -> None:
        """Punch and free the retired slots whose last possible reader is gone. Under `_flushing`."""
        with self._books:
            oldest = next(iter(self._readers), None)
            ready = [slots for ticket, slots in self._waiting_free if oldest is None or oldest > ticket]
            self._waiting_free = self._waiting_free[len(ready) :]
            if held := tuple(slot for slots in ready for slot in slots if slot in self._held):
                self._waiting_free.insert(0, (_NO_TICKET, held))
                ready = [tuple(slot for slot in slots if slot not in self._held) for slots in ready]
            if own := self._caches.get(self._depth):
                for slots in ready:
                    own.forget(slots)
        if ready:
            self._lookaside.settle()
        for slots in ready:
            self._free(slots)

    def _free(self, slots: tuple[int, ...]) -> None:
        try:
            for first, count in _contiguous(sorted(slots)):
                self._slab.punch(first, count)
        except OSError as error:
            # What was stored is stored: whoever stored it does not hear of this, and it is tried again next time.
            _log.warning("punch %s: %s", self._slab.path, error)
            self._waiting_free.insert(0, (_NO_TICKET, slots))
            return
        with self._books:
            self._ledger.slots.free(slots)

    def _punch_free_slots(self) -> None:
        """A crash may have come between a commit and the punching: FREE must mean hole again."""
        used = len(self._ledger.slots)
        for first, count in self._ledger.slots.free_runs():
            self._slab.punch(first, count)
        beyond = self._slab.slots_written() - used
        if beyond > 0:
            self._slab.punch(used, beyond)

    # ---- checkpoints and forks

    def cut(self, checkpoint: CheckpointId) -> Cut:
        """Cut now: the checkpoint holds every write acknowledged so far, and none that begins later. Conflict when the
        id is taken.

        It exists only once `Cut.publish` has stored its fact. Flushes go on meanwhile (thawing a filesystem needs one)
        and may store its root; a root without its fact is dropped when the disk is opened.
        """
        with self._flushing, self._cutting():
            generation = self._ledger.facts.generation + 1
            self._ledger.pin(facts.CHECKPOINT + checkpoint)
            self._ledger.facts = dataclasses.replace(self._ledger.facts, generation=generation)
        crashpoint.reach("checkpoint: cut in the worker")
        return Cut(self, checkpoint, generation)

    def _publish(self, checkpoint: Checkpoint) -> None:
        name = facts.CHECKPOINT + checkpoint.id
        with self._flushing:
            with self._books:
                self._ledger.root(name)  # NotFound when storing it has failed meanwhile
                self._ledger.facts = self._ledger.facts.with_checkpoint(checkpoint)
            self._commit()

    def _drop_unpublished(self) -> None:
        """Roots of checkpoints that a crash kept from being published."""
        published = {facts.CHECKPOINT + checkpoint for checkpoint in self._ledger.facts.checkpoints}
        for name in [name for name in self._ledger.roots if name.startswith(facts.CHECKPOINT)]:
            if name not in published:
                self._drop(name)

    def delete_checkpoint(self, checkpoint: CheckpointId) -> None:
        """Forget it and free what only it held; NotFound."""
        self._drop(facts.CHECKPOINT + checkpoint)

    def restore(self, checkpoint: CheckpointId) -> None:
        """The head becomes the checkpoint's content, in one commit; nothing may be reading or writing.

        StateError when somebody has written since the last flush: who is done with a disk (unmounts it) flushes it, so
        this is somebody who is not. A write that comes in the middle of it is EIO: it is meant for the old content.
        """
        with self._flushing:
            with self._stopped_writes():
                with self._books:
                    self._check_quiet(checkpoint)
                self._replace_head(lambda: self._ledger.restore(facts.CHECKPOINT + checkpoint))
            self._sweep()

    def _replace_head(self, replace: Callable[[], None]) -> None:
        """The head becomes another root, or, when that cannot be stored, what it was. Under `_flushing` and
        `_stopped_writes`: what is written meanwhile would be noted for neither."""
        self._check_fence()
        self._give_back()
        with self._books:
            old = self._take()
        self._store(old)  # so that it can be had again
        with self._books:
            replace()
            self._lookaside.clear()
            new = self._take()
        try:
            self._store(new)
        except BaseException:
            self._lookaside.clear()
            raise
        crashpoint.reach("restore: stored")

    def _check_quiet(self, checkpoint: CheckpointId) -> None:
        """Under `_stopped_writes` and `_books`."""
        if not self._touched:
            return
        unwritten = self._unwritten = self._take_unwritten()
        if unwritten or self._delta.position != self._journaled:
            raise errors.StateError(
                f"restore {checkpoint}: the disk is in use: it was written to, and not synced since",
                hint="unmount it first",
            )

    def fork(self, child: str, checkpoint: CheckpointId | None = None) -> bytes:
        """Pin the head's (or a checkpoint's) content for the disk `child`; the root that the child starts from."""
        with self._flushing:
            with self._cutting():
                source = None if checkpoint is None else facts.CHECKPOINT + checkpoint
                root = self._ledger.pin(facts.FORK + child, source)
            self._commit()
        return root

    def forks(self) -> list[str]:
        """Disks for which something is pinned."""
        with self._books:
            return [name.removeprefix(facts.FORK) for name in self._ledger.roots if name.startswith(facts.FORK)]

    def unfork(self, child: str) -> None:
        """The disk `child` is gone; NotFound."""
        self._drop(facts.FORK + child)

    def abandon(self) -> None:
        """The volume is deleted, forks still read from it: keep what they need only."""
        with self._flushing:
            with self._stopped_writes():
                self._replace_head(self._clear)
            self._sweep()

    def _clear(self) -> None:
        self._ledger.clear()
        for checkpoint in self._ledger.facts.checkpoints:
            self._ledger.unpin(facts.CHECKPOINT + checkpoint)

    def change_facts(self, edit: Callable[[Facts], Facts]) -> None:
        """Store other facts: what `edit` makes of them."""
        with self._flushing:
            with self._books:
                self._ledger.facts = edit(self._ledger.facts)
            self._commit()

    def resize(self, size_bytes: int) -> None:
        """Grow; StateError when it would shrink."""
        if layout.check_size(size_bytes) < self.size_bytes:
            raise errors.StateError(f"resize to {size_bytes} bytes: a disk of {self.size_bytes} does not shrink")
        with self._flushing:
            with self._books:
                self._ledger.resize(size_bytes)
                self._ledger.facts = dataclasses.replace(self._ledger.facts, size_bytes=size_bytes)
            self._commit()
            self._lookaside.set_size(size_bytes)

    def _drop(self, name: str) -> None:
        with self._flushing:
            with self._books:
                self._ledger.unpin(name)
            self._commit()
            self._sweep()

    def _sweep(self) -> None:
        """Free what no root reaches. Under `_flushing`, with everything stored."""
        with self._books:
            self._ledger.sweep()
        self._commit()

    # ---- the object store

    def cut_batch(self, *, whole: bool) -> batch.Batch:
        """Everything acknowledged so far, for the store; its slots stay as they are until `batch_sent` or
        `batch_dropped`. One batch at a time. `whole`: with what a snapshot needs."""
        self._check_fence()
        with self._flushing:
            with self._cutting():
                self._ledger.cut()
                covers = self._flush_asked
                slots = self._ledger.take_unsent()
                self._held = frozenset(slots)
                taken = self._take()  # before writers go on: what is stored is exactly this cut
                known = self._ledger.facts.travelling()
            try:
                self._store(taken)
                new = self._meta.unsent_pages()
                old = {n: page for n, page in self._meta.pages().items() if n not in new} if whole else None
                places = self._meta.places() if whole else None
                return batch.Batch(tuple(slots), new, self._meta.roots(), known, covers, time.time(), old, places)
            except BaseException:
                self._unhold(slots)
                raise

    def read_slot(self, slot: int) -> memoryview:
        """The content of a slot of the batch."""
        content = slab.aligned(_CHUNK)
        self._slab.read(slot, 0, content)
        return content

    def stored_places(self) -> Mapping[int, names.Place]:
        """Where every slot is that the store has."""
        return self._meta.places()

    def vouch(self, slot: int) -> bool:
        """Have a slot of this disk here as the store has it, as long as it is named: fetched where it is cold, put
        right where it is something else here; whether it was. OSError (EIO): what the store has cannot be had."""
        with self._reading():
            if self._caches[self._depth].is_cold(slot):
                self._gauge.claim(_CHUNK)
            return self._caches[self._depth].vouch(slot, self._named)

    def send_again(self, slots: Sequence[int]) -> Sequence[int]:
        """Have these slots in the next batch although the store has them, as far as they are named and in the slab (and
        so they stay there until then); which."""
        own = self._caches[self._depth]
        with self._flushing, self._books:  # nothing is evicted, and no batch cut
            again = [slot for slot in slots if self._ledger.is_named(slot) and not own.is_cold(slot)]
            self._ledger.unsent.update(again)
        self._tell()
        return again

    def is_unsent(self, slots: Sequence[int]) -> bool:
        """Whether one of these slots is still to be sent."""
        with self._books:
            return not (self._held | self._ledger.unsent).isdisjoint(slots)

    def batch_sent(self, sent: batch.Batch, answer: batch.Sent | None) -> None:
        """The store has it. `answer` is None when it had everything before."""
        with self._flushing:
            with self._books:
                places = answer.places if answer else {}
                named = {slot: at for slot, at in places.items() if self._ledger.is_named(slot)}
                kept = [name for name, root in sent.roots.items() if self._ledger.roots.get(name) == root]
                durable = dict.fromkeys(kept, sent.cut_at)

            def learn(known: Facts) -> Facts:
                local = known.local
                return known.replace_local(
                    durable_at=sent.cut_at, durable_sealed=local.durable_sealed or sent.facts.sealed,
                    durable_roots={**durable, **local.durable_roots}, seq=answer.seq if answer else local.seq,
                )  # fmt: skip

            crashpoint.reach("upload: stored")
            self._meta.sent(named, sent.pages, self._ledger.changes(learn))
            with self._books:
                self._ledger.learn(learn)
                self._held = frozenset()
                self._covered = max(self._covered, sent.covers)
                self._books.notify_all()
            self._free_retired()

    def batch_dropped(self, dropped: batch.Batch) -> None:
        """The store does not have it; what it held is unsent again."""
        self._unhold(dropped.slots)

    def _unhold(self, slots: Iterable[int]) -> None:
        with self._books:
            self._held = frozenset()
            self._ledger.unsent.update(slot for slot in slots if self._ledger.is_named(slot))

    def fence(self, why: str) -> None:
        """Another host has the volume: from now on nothing is acknowledged, and nothing read."""
        with self._books:
            self.fenced = why
            self._lookaside.set_clean(_NOT_CLEAN)
            self._lookaside.clear()
            self._books.notify_all()

    def make_caches(self, make: Callable[[str, slab.Slab, meta.Meta], cache.Cache]) -> dict[int, cache.Cache]:
        """One for this disk, and one for each ancestor that is not all here, or need not stay here; by depth."""
        made = {self._depth: make(self.directory, self._slab, self._meta)}
        used = [(depth, found) for depth, found in enumerate(self._ancestors) if found.is_cached]
        return made | {depth: make(found.directory, found.slab, found.meta) for depth, found in used}

    def use_caches(self, caches: Mapping[int, cache.Cache]) -> None:
        """Slots of the disks at these depths may be in the store only."""
        self._caches = dict(caches)

    def hydrate(self, depth: int, slot: int, among: Container[int] | None = None) -> None:
        """Have a cold slot here, if it is still named; OSError (ENOSPC): it stays where it is.

        Of those behind it only what is `among` comes along.
        """
        allowed = self._allowed(depth)
        with self._reading():
            self._gauge.claim(_CHUNK)
            self._caches[depth].hydrate(
                slot, allowed if among is None else lambda slots: allowed(s for s in slots if s in among)
            )

    def places(self, chunks: Iterable[int]) -> list[int]:
        """Where these chunks of the head are now; those beyond its end are left out."""
        end = self.size_bytes // _CHUNK
        with self._books:
            return [at for chunk in chunks if chunk < end for at in self._ledger.places(chunk, 1)]

    def evict(self, keep_bytes: int, depth: int | None = None) -> int:
        """Leave to the store what it has, the oldest first, until no more than `keep_bytes` are used here; how many
        slots became holes. Of this disk, or of the ancestor at `depth`; nothing while another process has it open."""
        depth = self._depth if depth is None else depth
        if (found := self._caches.get(depth)) is None or self.resident_bytes(depth) <= keep_bytes:
            return 0
        sharing = self._sharing if depth == self._depth else self._ancestors[depth].sharing
        with self._flushing, sharing.alone() as is_alone:
            slots = found.chill(self._choose_victims(found, depth, keep_bytes)) if is_alone else ()
            if not slots:
                return 0
            try:
                if not self._wait_for_readers():
                    found.rewarm(slots)
                    return 0
                self._lookaside.clear()
                crashpoint.reach("evict: cold, not punched")
                for first, count in _contiguous(sorted(slots)):
                    self._slab_at(depth).punch(first, count)
            finally:
                found.chilled(slots)
        return len(slots)

    def resident_bytes(self, depth: int) -> int:
        """What of the slab at this depth is here, and not only in the store."""
        if depth != self._depth:
            return self._ancestors[depth].slab.allocated_bytes()
        with self._books:
            return (self._ledger.slots.count_used() - self._caches[depth].count) * _CHUNK

    def evict_some(self, size: int) -> int:
        """As `evict`, until about `size` bytes less are used here; what is being read as well, if need be."""
        if self._depth not in self._caches:
            return 0
        keep_bytes = max(0, self.resident_bytes(self._depth) - size)
        return self.evict(keep_bytes) or self.evict(keep_bytes)  # what was read is spared by the first

    def settle(self) -> None:
        """Store the map, and free the slots that only the older one named. Waits for no store."""
        with self._flushing:
            self._commit()

    def await_store(self) -> bool:
        """Wait a moment for what is on its way to the store; False when nothing is."""
        with self._books:
            if self.dirty_cap_bytes is None or not (self._ledger.unsent or self._held):
                return False
            self.hurry.set()
            self.dirty.set()
            self._wait_patiently()
        return True

    def _choose_victims(self, found: cache.Cache, depth: int, keep_bytes: int) -> Sequence[int]:
        surplus = min(_EVICT_SLOTS, -(-(self.resident_bytes(depth) - keep_bytes) // _CHUNK))
        if surplus <= 0:
            return []
        old = found.take_unread()
        self._lookaside.clear()  # what it reads is not noted
        if depth != self._depth:
            return old[:surplus]
        with self._books:  # what is to be sent again has a place, too
            kept = self._held | self._ledger.unsent
        return [slot for slot in self._named(old) if slot not in kept][:surplus]

    def _wait_for_readers(self) -> bool:
        """Whether everybody who was reading is done, soon. One of them may wait for what is being evicted."""
        with self._books:
            ticket = next(self._tickets)
            return self._books.wait_for(lambda: next(iter(self._readers), ticket) >= ticket, _READERS_S)

    def _warm(self, places: Sequence[int]) -> None:
        """Have the content of these places in the slabs. Within `_reading`, so that none of them is freed."""
        self._check_fence()
        for depth, cached in self._caches.items():
            slots = [layout.number_of(at) for at in places if at and layout.depth_of(at) == depth]
            cached.note_reads(slots)
            if cold := sum(cached.is_cold(slot) for slot in slots):
                self._gauge.claim(cold * _CHUNK)
                cached.fetch(slots, self._allowed(depth))

    def _allowed(self, depth: int) -> Callable[[Iterable[int]], Sequence[int]]:
        """Which slots may come along: what is freed meanwhile must not be written to any more."""
        return self._named if depth == self._depth else self._ancestors[depth].allowed

    def _named(self, slots: Iterable[int]) -> Sequence[int]:
        with self._books:
            return [slot for slot in slots if self._ledger.is_named(slot)]

    def _tell(self) -> None:
        if not self.dirty.is_set():
            self.dirty.set()
        if len(self._ledger.unsent) * _CHUNK >= _HURRY_BYTES:
            self.hurry.set()

    def _check_fence(self) -> None:
        if self.fenced is not None:
            raise OSError(errno.EIO, self.fenced)

    def _wait_for_room(self) -> None:
        """Back-pressure: with too much that the store does not have, writers wait for it."""
        self._check_fence()
        if self.dirty_cap_bytes is None:
            return
        with self._books:
            while (len(self._ledger.unsent) + len(self._held)) * _CHUNK > self.dirty_cap_bytes:
                self._wait_patiently()

    def _wait_for_store(self, ticket: int) -> None:
        """Where that is asked for: until the store has what this flush covers."""
        if not self.waits_for_store:
            return
        with self._books:
            while self._covered < ticket:
                self.hurry.set()
                self.dirty.set()
                self._wait_patiently()

    def _wait_patiently(self) -> None:
        if not self._books.wait(_PATIENCE_S):
            self.patience += 1
        self._check_fence()

    def close(self) -> None:
        """Flush and let go. Nobody may be in any other method."""
        self.waits_for_store = False
        try:
            if self.fenced is None:
                self.commit()
        finally:
            self._stack.close()

    # ---- who may go on

    @contextlib.contextmanager
    def _writing(self, first: int, count: int, era: int) -> Iterator[None]:
        """`era`: when it was asked for."""
        chunks = range(first, first + count)
        with self._books:
            while self._gate or not self._busy.isdisjoint(chunks):
                self._books.wait()
            if self._ledger.era != era:
                raise OSError(
                    errno.EIO, "a checkpoint was restored before this write: it was meant for the old content"
                )
            self._busy.update(chunks)
            was_writable = self._lookaside.forget(first, count)
        try:
            if was_writable:
                self._lookaside.settle()
            yield
        finally:
            with self._books:
                self._busy.difference_update(chunks)
                self._books.notify_all()

    @contextlib.contextmanager
    def _stopped_writes(self) -> Iterator[None]:
        """As `_gated`, and nothing is written in place any more: acknowledged writes are before the cut, others after.

        Without this a write that began before a cut could change a slot that the cut made immutable.
        """
        with self._gated():
            self._lookaside.protect()
            yield

    @contextlib.contextmanager
    def _cutting(self) -> Iterator[None]:
        """As `_stopped_writes`, with everything as a root may name it; under `_books`."""
        with self._stopped_writes():
            self._give_back()
            with self._books:
                yield

    @contextlib.contextmanager
    def _gated(self) -> Iterator[None]:
        """Wait out the writes under way in Python and let none begin."""
        with self._books:
            while self._gate:
                self._books.wait()
            self._gate = True
            while self._busy:
                self._books.wait()
        try:
            yield
        finally:
            with self._books:
                self._gate = False
                self._books.notify_all()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._books:
            ticket = next(self._tickets)
            self._readers[ticket] = None
        try:
            yield
        finally:
            with self._books:
                del self._readers[ticket]
                if self._caches:
                    self._books.notify_all()  # `evict` may wait for us

    # ---- the lineage

    def _slab_of(self, at: int) -> slab.Slab:
        return self._slab_at(layout.depth_of(at))

    def _slab_at(self, depth: int) -> slab.Slab:
        return self._slab if depth == self._depth else self._ancestors[depth].slab

    def _load_ancestor(self, at: int) -> bytes:
        return self._ancestors[layout.depth_of(at)].meta.page(layout.number_of(at))

    def _load_page(self, at: int) -> bytes:
        own = layout.depth_of(at) == self._depth
        return self._meta.page(layout.number_of(at)) if own else self._load_ancestor(at)


class Cut:
    """A checkpoint that is taken and not stored yet. Exactly one of `publish` and `cancel` must be called, soon."""

    def __init__(self, disk: Disk, checkpoint: CheckpointId, generation: int) -> None:
        self._disk = disk
        self._checkpoint = checkpoint
        self.generation = generation

    def publish(self, *, created_at: float, comment: str | None, frozen_ms: float, clean: bool) -> Checkpoint:
        """Store it; when this returns it survives anything. When it raises, there is no such checkpoint."""
        done = Checkpoint(self._checkpoint, self.generation, created_at, comment, frozen_ms, clean)
        self._disk._publish(done)
        return done

    def cancel(self) -> None:
        """As if it had never been taken."""
        self._disk._drop(facts.CHECKPOINT + self._checkpoint)


class _Ancestor:
    """What a disk reads of one of its ancestors; closed by the stack."""

    def __init__(self, directory: str, stack: contextlib.ExitStack, *, is_limited: bool) -> None:
        self.directory = directory
        self.sharing = sharing.Readers(directory)  # first: from now on nothing leaves the slab
        stack.callback(self.sharing.close)
        self.meta = meta.Meta(directory, read_only=True)
        known = self.meta.facts()
        self.is_cached = bool(self.meta.cold()) or (is_limited and known.local.store is not None)
        if self.is_cached:  # what is fetched, or evicted, will be written down
            self.meta.close()
            self.meta = meta.Meta(directory)
        stack.callback(self.meta.close)
        self.slab = slab.Slab(directory, read_only=not self.is_cached)
        stack.callback(self.slab.close)
        # Only what never changes again may be fetched without being asked for by name.
        self._immutable = known.sealed or known.local.foreign

    def allowed(self, slots: Iterable[int]) -> Sequence[int]:
        """Which of these slots may be fetched along with one that the disk needs."""
        return list(slots) if self._immutable else []


def _is_zero(view: memoryview) -> bool:
    return view[0] == 0 and view[-1] == 0 and bytes(view) == _ZERO_CHUNK


def _runs(places: list[int]) -> Iterator[tuple[int, int]]:
    """(first, last) index of each run of places that one slab read covers: consecutive slots, or holes."""
    first = 0
    for n in range(1, len(places) + 1):
        step = 1 if places[first] else 0
        if n == len(places) or places[n] != places[n - 1] + step:
            yield first, n - 1
            first = n


def _slot_runs(pieces: list[Piece], targets: list[ledger.Target]) -> Iterator[tuple[int, int]]:
    """(first, last) index of each run of pieces that one slab write covers."""
    first = 0
    for n in range(1, len(pieces) + 1):
        if n == len(pieces) or not _joins(pieces[n - 1], targets[n - 1], pieces[n], targets[n]):
            yield first, n - 1
            first = n


def _changes(pieces: list[Piece], targets: list[ledger.Target], depth: int) -> Iterator[delta.Change]:
    """The map changes of a write, consecutive ones as one."""
    moved = [
        (piece.chunk, target.slot) for piece, target in zip(pieces, targets, strict=True) if target.source is not None
    ]
    for _, group in itertools.groupby(enumerate(moved), key=lambda pair: (pair[1][0] - pair[0], pair[1][1] - pair[0])):
        run = [entry for _, entry in group]
        yield delta.Change(run[0][0], len(run), layout.place(depth, run[0][1]))


def _joins(before: Piece, before_target: ledger.Target, piece: Piece, target: ledger.Target) -> bool:
    """Whether the piece can be written together with the one before it: next slot, and neither needs merging."""
    simple = (before.whole or not before_target.source) and (piece.whole or not target.source)
    return simple and target.slot == before_target.slot + 1


def _contiguous(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """(first, count) of each run in sorted numbers."""
    for _, group in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield run[0], len(run)
