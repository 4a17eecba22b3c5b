"""One disk, open for writing: reads, writes, trims and flushes of many threads over the pure books (`ledger`).

    write   wait until nobody writes these chunks ─ ledger.target ─ slab.write ─ ledger.publish
    read    ledger.places ─ slab.read                      (registered, so that its slots are not given out meanwhile)
    flush   ledger.take ─ slab.sync ─ meta.commit ─ ledger.stored ─ punch and free the slots that nobody reads
    cut     wait until no write is under way ─ ledger.pin ─ then as flush, with writers running again

What a crash leaves between any two of these is said in `ledger`. Locks: `_books` guards the ledger and is never held
over I/O, except to load a page of the map; `_flushing` serialises commits. Ancestors' slabs and pages are opened
read-only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from .. import errors
from ..ids import CheckpointId
from . import crashpoint, delta, layout, ledger, map, meta, slab
from .checkpoint import Checkpoint

_CHUNK = layout.CHUNK_BYTES
_ZERO_CHUNK = bytes(_CHUNK)
_LOCK_TIMEOUT_S = 3.0
_CHECKPOINT, _FORK = "checkpoint/", "fork/"


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


def create(directory: str, size_bytes: int, facts: Mapping[str, str], root: bytes | None = None) -> None:
    """Fill an empty directory with a new disk: one hole, or a fork that starts from `root`. Stable when it returns."""
    slab.Slab(directory, create=True).close()
    meta.Meta.create(directory, {"size": str(size_bytes), **facts}, root or map.empty_root(size_bytes))
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Disk:
    """See the module. `lineage` are the directories of all ancestors, the first disk first.

    `delta_fd` (the caller's) is the log of changes that outlives this process; None where nobody could ask for them.
    """

    def __init__(self, directory: str, lineage: Sequence[str], delta_fd: int | None = None) -> None:
        self.directory = directory
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self._stack)
            self._lock_fd = _lock(directory)
            self._stack.callback(os.close, self._lock_fd)
            self._meta = meta.Meta(directory)
            self._stack.callback(self._meta.close)
            self._ancestors = [_Ancestor(path, self._stack) for path in lineage]
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
            self._ledger = ledger.Ledger(self._meta, self._depth, self._load_ancestor, self._delta.changes)
            self._check_slab()
            if self._delta.era != self._ledger.era:
                self._delta.reset(self._ledger.era)
            undo.pop_all()
        self._busy: set[int] = set()
        self._gate = False
        self._tickets = itertools.count()
        self._readers: dict[int, None] = {}
        self._waiting_free: list[tuple[int, tuple[int, ...]]] = []
        self._flush_done = 0
        self._flush_asked = 0
        self._unwritten = True  # a killed predecessor may have written what it never synced
        self._punch_free_slots()
        self._drop_unpublished()

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
        return int(self._ledger.facts["size"])

    def facts(self) -> dict[str, str]:
        """All facts, checkpoints among them."""
        with self._books:
            return dict(self._ledger.facts)

    def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints, the oldest first."""
        return parse_checkpoints(self.facts())

    def usage(self) -> dict[str, int]:
        """Bytes: what the disk holds of its own (`used`), and what that takes on the host (`allocated`)."""
        with self._books:
            used = self._ledger.slots.count_used()
        return {"used_bytes": used * _CHUNK, "allocated_bytes": self._slab.allocated_bytes()}

    # ---- reading

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into` from the head."""
        self._read(offset, into, self._ledger.places)

    def reader(self, name: CheckpointId) -> Callable[[int, memoryview], None]:
        """A function as `read`, of a checkpoint; NotFound."""
        with self._books:
            root = self._ledger.root(_CHECKPOINT + name)
        frozen = map.ChunkMap(root, self._depth, self._load_page)
        return lambda offset, into: self._read(offset, into, frozen.places)

    def _read(self, offset: int, into: memoryview, places_of: Callable[[int, int], list[int]]) -> None:
        pieces = split(offset, len(into))
        with self._reading():
            with self._books:
                places = places_of(pieces[0].chunk, len(pieces)) if pieces else []
            for first, last in _runs(places):
                start, end = pieces[first].start, pieces[last].start + pieces[last].length
                self._read_place(places[first], pieces[first].offset, into[start:end])

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
        with self._writing(pieces[0].chunk, len(pieces)):
            zero = [piece.whole and _is_zero(data[piece.start : piece.start + _CHUNK]) for piece in pieces]
            for chunk_is_zero, group in itertools.groupby(zip(pieces, zero, strict=True), key=lambda pair: pair[1]):
                part = [piece for piece, _ in group]
                if chunk_is_zero:
                    self._trim_chunks(part[0].chunk, len(part))
                else:
                    self._write_pieces(part, data)
        self._make_room()

    def _make_room(self) -> None:
        """Flush when many changes are noted and not stored."""
        if self._delta.is_filling:
            self.flush()

    def _write_pieces(self, pieces: list[Piece], data: memoryview) -> None:
        with self._books:
            places = self._ledger.places(pieces[0].chunk, len(pieces))
            targets = [self._ledger.target(piece.chunk, at) for piece, at in zip(pieces, places, strict=True)]
        try:
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
            crashpoint.reach("write: data is written")
            for change in _changes(pieces, targets, self._depth):
                self._delta.append(change)
            for piece, at, target in zip(pieces, places, targets, strict=True):
                if target.source is not None:
                    self._ledger.publish(piece.chunk, at, target.slot)

    def _write_run(self, piece: Piece, target: ledger.Target, data: memoryview) -> None:
        if piece.whole or not target.source:
            # Whole chunks, in place, or into a slot that was a hole and reads as zeros around the piece.
            self._slab.write(target.slot, piece.offset, data)
            return
        merged = slab.aligned(_CHUNK)
        self._read_place(target.source, 0, merged)
        merged[piece.offset : piece.offset + piece.length] = data
        self._slab.write(target.slot, 0, merged)

    def trim(self, offset: int, length: int) -> None:
        """Make this range read as zeros; whole chunks become holes."""
        length = min(length, self.size_bytes - offset)
        pieces = split(offset, length) if length < 4 * _CHUNK else []
        if pieces:
            for piece in pieces:
                self._zero_piece(piece)
            return
        first, last = -(-offset // _CHUNK), (offset + length) // _CHUNK
        for piece in split(offset, first * _CHUNK - offset) + split(last * _CHUNK, offset + length - last * _CHUNK):
            self._zero_piece(piece)
        with self._writing(first, last - first):
            self._trim_chunks(first, last - first)
        self._make_room()

    def _zero_piece(self, piece: Piece) -> None:
        with self._writing(piece.chunk, 1):
            if piece.whole:
                self._trim_chunks(piece.chunk, 1)
                return
            with self._books:
                hole = self._ledger.places(piece.chunk, 1) == [layout.HOLE]
            if not hole:
                self._write_pieces([dataclasses.replace(piece, start=0)], slab.aligned(piece.length))

    def _trim_chunks(self, first: int, count: int) -> None:
        with self._books:
            if self._ledger.trim(first, count):
                self._delta.append(delta.Change(first, count, layout.HOLE))

    # ---- making it stable

    def flush(self) -> None:
        """All writes that were acknowledged before this call are stable when it returns."""
        with self._books:
            self._flush_asked += 1
            ticket = self._flush_asked
        with self._flushing:
            if self._flush_done >= ticket:
                return  # a flush that began after our call has covered us
            with self._books:
                covered = self._flush_asked
            self._commit()
            self._flush_done = covered

    def _commit(self) -> None:
        """Store what `ledger.take` gives. Under `_flushing`."""
        with self._books:
            commit = self._ledger.take()
            position = self._delta.position
            unwritten, self._unwritten = self._unwritten, False
            now = next(self._tickets)
        try:
            if unwritten or commit.pages:
                self._slab.sync()
            crashpoint.reach("commit: data is stable")
            if commit.pages or commit.roots or commit.facts or commit.dropped_roots or commit.dropped_pages:
                self._meta.commit(commit)
        except BaseException:
            with self._books:
                self._unwritten = True
                self._ledger.not_stored(commit)
            raise
        crashpoint.reach("commit: map is stored")
        with self._books:
            self._ledger.stored(commit)
            if self._delta.era == self._ledger.era:
                self._delta.drop_until(position)
            else:
                self._delta.reset(self._ledger.era)
        if commit.retired:
            self._waiting_free.append((now, commit.retired))
        self._free_retired()

    def _free_retired(self) -> None:
        """Punch and free the retired slots whose last possible reader is gone. Under `_flushing`."""
        with self._books:
            oldest = next(iter(self._readers), None)
            ready = [slots for ticket, slots in self._waiting_free if oldest is None or oldest > ticket]
            self._waiting_free = self._waiting_free[len(ready) :]
        for slots in ready:
            for first, count in _contiguous(sorted(slots)):
                self._slab.punch(first, count)
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
        with self._flushing, self._stopped_writes(), self._books:
            generation = int(self._ledger.facts.get("generation", "0")) + 1
            self._ledger.pin(_CHECKPOINT + checkpoint, {"generation": str(generation)})
        crashpoint.reach("checkpoint: cut in the worker")
        return Cut(self, checkpoint, generation)

    def _publish(self, checkpoint: Checkpoint) -> None:
        name = _CHECKPOINT + checkpoint.id
        with self._flushing:
            with self._books:
                self._ledger.root(name)  # NotFound when storing it has failed meanwhile
                self._ledger.set_facts({name: checkpoint.text()})
            self._commit()

    def _drop_unpublished(self) -> None:
        """Roots of checkpoints that a crash kept from being published."""
        unpublished = [n for n in self._ledger.roots if n.startswith(_CHECKPOINT) and n not in self._ledger.facts]
        for name in unpublished:
            self._drop(name, {})

    def delete_checkpoint(self, checkpoint: CheckpointId) -> None:
        """Forget it and free what only it held; NotFound."""
        name = _CHECKPOINT + checkpoint
        self._drop(name, {name: None})

    def restore(self, checkpoint: CheckpointId) -> None:
        """The head becomes the checkpoint's content, in one commit; nothing may be reading or writing."""
        with self._flushing:
            with self._stopped_writes(), self._books:
                self._ledger.restore(_CHECKPOINT + checkpoint)
            self._commit()
            self._sweep()

    def fork(self, child: str, checkpoint: CheckpointId | None = None) -> bytes:
        """Pin the head's (or a checkpoint's) content for the disk `child`; the root that the child starts from."""
        with self._flushing:
            with self._stopped_writes(), self._books:
                source = None if checkpoint is None else _CHECKPOINT + checkpoint
                root = self._ledger.pin(_FORK + child, {}, source)
            self._commit()
        return root

    def forks(self) -> list[str]:
        """Disks for which something is pinned."""
        with self._books:
            return [name.removeprefix(_FORK) for name in self._ledger.roots if name.startswith(_FORK)]

    def unfork(self, child: str) -> None:
        """The disk `child` is gone; NotFound."""
        self._drop(_FORK + child, {})

    def abandon(self) -> None:
        """The volume is deleted, forks still read from it: keep what they need only."""
        with self._flushing:
            with self._stopped_writes(), self._books:
                self._ledger.clear()
                for checkpoint in parse_checkpoints(self._ledger.facts):
                    name = _CHECKPOINT + checkpoint.id
                    self._ledger.unpin(name, {name: None})
            self._commit()
            self._sweep()

    def set_facts(self, facts: Mapping[str, str | None]) -> None:
        """Store facts."""
        with self._flushing:
            with self._books:
                self._ledger.set_facts(facts)
            self._commit()

    def resize(self, size_bytes: int) -> None:
        """Grow; StateError when it would shrink."""
        if layout.check_size(size_bytes) < self.size_bytes:
            raise errors.StateError(f"resize to {size_bytes} bytes: a disk of {self.size_bytes} does not shrink")
        with self._flushing:
            with self._books:
                self._ledger.resize(size_bytes)
                self._ledger.set_facts({"size": str(size_bytes)})
            self._commit()

    def _drop(self, name: str, facts: Mapping[str, str | None]) -> None:
        with self._flushing:
            with self._books:
                self._ledger.unpin(name, facts)
            self._commit()
            self._sweep()

    def _sweep(self) -> None:
        """Free what no root reaches. Under `_flushing`, with everything stored."""
        with self._books:
            self._ledger.sweep()
        self._commit()

    def close(self) -> None:
        """Flush and let go. Nobody may be in any other method."""
        try:
            self.flush()
        finally:
            self._stack.close()

    # ---- who may go on

    @contextlib.contextmanager
    def _writing(self, first: int, count: int) -> Iterator[None]:
        chunks = range(first, first + count)
        with self._books:
            while self._gate or not self._busy.isdisjoint(chunks):
                self._books.wait()
            self._busy.update(chunks)
        try:
            yield
        finally:
            with self._books:
                self._busy.difference_update(chunks)
                self._books.notify_all()

    @contextlib.contextmanager
    def _stopped_writes(self) -> Iterator[None]:
        """Wait out the writes under way and let none begin: acknowledged writes are before the cut, the rest after.

        Without this a write that began before a cut could change a slot that the cut made immutable.
        """
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

    # ---- the lineage

    def _slab_of(self, at: int) -> slab.Slab:
        depth = layout.depth_of(at)
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
        self._disk._drop(_CHECKPOINT + self._checkpoint, {})


class _Ancestor:
    """What a disk reads of one of its ancestors; closed by the stack."""

    def __init__(self, directory: str, stack: contextlib.ExitStack) -> None:
        self.meta = meta.Meta(directory, read_only=True)
        stack.callback(self.meta.close)
        self.slab = slab.Slab(directory, read_only=True)
        stack.callback(self.slab.close)


def parse_checkpoints(facts: Mapping[str, str]) -> list[Checkpoint]:
    """The checkpoints among the facts, the oldest first."""
    found = [Checkpoint.parse(text) for key, text in facts.items() if key.startswith(_CHECKPOINT)]
    return sorted(found, key=lambda checkpoint: checkpoint.generation)


def _lock(directory: str) -> int:
    """The lock file, locked. Waits a little: a killed predecessor may still be on its way out."""
    fd = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise errors.StateError(f"open disk: {directory}: another process has it open") from None
            time.sleep(0.005)


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
