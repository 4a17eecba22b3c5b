"""HEAD → snapshot → heads of the segments after it, up to the first gap: the books as of the last whole batch.

A batch counts when all its segments up to the one with COMMIT are there; the rest of the log is not looked at. Only the
newest epoch may end anywhere: an older one ends where its successor began, so a segment missing before that is damage,
never a shorter history.

What does not depend on each other is asked for at the same time, because each answer is a round trip away:

    HEAD read ─┬─ HEAD claimed ─┬─ the first gap asked for again ─ begin      `adopt`
               ├─ snapshot ─────┤
               └─ log ──────────┘

`Ahead` asks before the claim. What it finds stays found: an object of the log never changes once it is whole. What it
does not find says nothing: the holder of that moment may still store it and say that it is durable, so the end of the
log is looked for after the claim, and only then.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping
from concurrent import futures
from types import TracebackType
from typing import Protocol, TypeVar

import msgspec

from .... import errors
from ... import names
from ...facts import Facts
from ...names import Place, Stamp
from ..objects import store
from . import segment, snapshot
from .codec import Codec, Damaged
from .head import Head
from .segment import Delta

_AHEAD = 8
_TAIL = 2


class Sink(Protocol):
    """Where recovered books go: `meta.Meta`, or a dict in tests."""

    def begin(self, image: snapshot.Image) -> None:
        """These books, and nothing else."""

    def apply(self, places: Mapping[int, Place], delta: Delta) -> None:
        """One batch on top."""


class End(msgspec.Struct, frozen=True):
    """Where the log ends: `seq` of the last whole batch (0: none), and how many segments were replayed."""

    seq: int
    replayed: int


EMPTY = snapshot.Image({}, {}, {}, snapshot.table(()))


class Ahead:
    """Recovery's first questions, on their way; a context manager. `early`: HEAD is not ours yet, so that what is not
    found in the log is asked again. Errors come when `recover` needs the answers."""

    def __init__(self, objects: store.Store, head: Head, packer: Codec, *, early: bool = True) -> None:
        self.head = head
        self.pool = futures.ThreadPoolExecutor(_AHEAD + 1, "recover")
        self.image = self.pool.submit(_snapshot, objects, head, packer)
        first, ask = head.replay_from, _peek if early else _next
        self.log = [self.pool.submit(ask, objects, head, seq) for seq in range(first, first + _AHEAD)]
        self.early_end = first + _AHEAD if early else first

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.shutdown(cancel_futures=True)

    def fits(self, head: Head) -> bool:
        """Whether recovery of this HEAD asks the same questions."""
        return (self.head.snapshot, self.head.history) == (head.snapshot, head.history)


def recover(objects: store.Store, head: Head, packer: Codec, sink: Sink, ahead: Ahead | None = None) -> End:
    """Fill the sink; Damaged when the log before its end is not whole, PeerError when the store does not answer.

    `ahead` (the caller's) has begun with a HEAD that was read before this one.
    """
    if ahead is None or not ahead.fits(head):
        with Ahead(objects, head, packer, early=False) as asked:
            return _replay(objects, head, packer, sink, asked)
    return _replay(objects, head, packer, sink, ahead)


def _replay(objects: store.Store, head: Head, packer: Codec, sink: Sink, ahead: Ahead) -> End:
    sink.begin(ahead.image.result())
    last = head.replay_from - 1
    places: dict[int, Place] = {}
    for found in _log(objects, head, ahead):
        places.update(found.places)
        if found.is_commit:
            sink.apply(places, found.delta(packer))
            places, last = {}, found.stamp.seq
    _check_history(head, last)
    return End(last, last - head.replay_from + 1)


def _log(objects: store.Store, head: Head, ahead: Ahead) -> Iterator[segment.Head]:
    """The segments' heads up to the first gap."""
    seq, asked = head.replay_from, collections.deque(ahead.log)
    early_end, width = ahead.early_end, _AHEAD
    while True:
        for number in range(seq + len(asked), seq + width):
            asked.append(ahead.pool.submit(_next, objects, head, number))
        found = asked.popleft().result()
        if found is not None:
            seq += 1
            yield found
        elif seq < early_end:
            early_end, width = seq, _TAIL  # so it was before the claim
            asked.clear()
        else:
            return


def _snapshot(objects: store.Store, head: Head, packer: Codec) -> snapshot.Image:
    if head.snapshot is None:
        return EMPTY
    key = names.snapshot(head.disk, head.snapshot.stamp)
    try:
        data = objects.get(key).data
    except errors.NotFound as error:
        raise Damaged(f"recover {head.disk}: {key} is gone") from error
    return snapshot.decode(data, head.snapshot.stamp, bytes.fromhex(head.snapshot.hash), packer)


def _next(objects: store.Store, head: Head, seq: int) -> segment.Head | None:
    stamp = head.stamp_of(seq)
    if stamp is None:
        return None
    try:
        return read_head(objects, head.disk, stamp)
    except segment.Truncated:
        if _is_torn_end(objects, head.disk, stamp):
            return None
        raise


def _is_torn_end(objects: store.Store, disk: str, stamp: Stamp) -> bool:
    """Whether half a segment is what a holder left that died in its PUT: nobody was told that it is durable. Then the
    last of its batch does not exist, nor what would have waited for it."""
    for ahead in range(1, segment.IN_FLIGHT + 1):
        try:
            found = read_head(objects, disk, stamp._replace(seq=stamp.seq + ahead))
        except segment.Truncated:
            continue  # as this one
        if found is not None and (found.is_commit or ahead == segment.IN_FLIGHT):
            return False
    return True


def _peek(objects: store.Store, head: Head, seq: int) -> segment.Head | None:
    """As `_next`, but what goes wrong is nothing that was found: it is asked again."""
    try:
        return _next(objects, head, seq)
    except errors.PilotError:
        return None


def read_head(objects: store.Store, disk: str, stamp: Stamp) -> segment.Head | None:
    """The head of one segment; None when it is not there, Damaged."""
    key = names.segment(disk, stamp)
    try:
        start, size = objects.get_start(key, segment.HEAD_GUESS_BYTES)
        needed = segment.head_bytes(start)
        if needed > len(start) and needed <= size:
            start = objects.get_range(key, 0, needed)
    except errors.NotFound:
        return None
    return segment.decode_head(start, stamp, size)


def _check_history(head: Head, last: int) -> None:
    """Every epoch but the newest must be there to its end, and all that HEAD knows of."""
    if last < head.seq:
        raise Damaged(f"recover {head.disk}: the log ends at {last}, but HEAD knows of {head.seq}")
    begun = head.history[-1][1] if head.history else 1
    if last + 1 < begun:
        raise Damaged(f"recover {head.disk}: the log ends at {last}, but epoch {head.history[-1][0]} began at {begun}")


class Books:
    """A `Sink` in memory: for tools that look at one volume. `rows` are its facts as they travel."""

    def __init__(self) -> None:
        self.pages: dict[int, bytes] = {}
        self.roots: dict[str, bytes] = {}
        self.rows: dict[str, str] = {}
        self.places: dict[int, Place] = {}

    @property
    def facts(self) -> Facts:
        """What is known of the volume; HostError for what is no fact."""
        return Facts.parse(self.rows)

    def begin(self, image: snapshot.Image) -> None:
        """These books, and nothing else."""
        self.pages, self.roots, self.rows = dict(image.pages), dict(image.roots), dict(image.facts)
        self.places = dict(image.places)

    def apply(self, places: Mapping[int, Place], delta: Delta) -> None:
        """One batch on top."""
        self.places.update(places)
        self.pages.update(delta.pages)
        if delta.full:
            self.roots, self.rows = {}, {}
        merge(self.roots, delta.roots.items())
        merge(self.rows, delta.facts.items())


V = TypeVar("V")


def merge(into: dict[str, V], changes: Iterable[tuple[str, V | None]]) -> None:
    """Changes onto a dict; None removes."""
    for key, value in changes:
        if value is None:
            into.pop(key, None)
        else:
            into[key] = value
