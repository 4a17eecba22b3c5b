"""HEAD → snapshot → heads of the segments after it, up to the first gap: the books as of the last whole batch.

A batch counts when all its segments up to the one with COMMIT are there; the rest of the log is not looked at. Only the
newest epoch may end anywhere: an older one ends where its successor began, so a segment missing before that is damage,
never a shorter history.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from concurrent import futures
from typing import Protocol, TypeVar

from ... import errors
from . import names, segment, snapshot, store
from .codec import Codec, Damaged
from .head import Head
from .names import Place, Stamp
from .segment import Delta

_AHEAD = 8


class Sink(Protocol):
    """Where recovered books go: `meta.Meta`, or a dict in tests."""

    def begin(self, image: snapshot.Image) -> None:
        """These books, and nothing else."""

    def apply(self, places: Mapping[int, Place], delta: Delta) -> None:
        """One batch on top."""


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """Where the log ends: `seq` of the last whole batch (0: none), and how many segments were replayed."""

    seq: int
    replayed: int


EMPTY = snapshot.Image({}, {}, {}, snapshot.table(()))


def recover(objects: store.Store, head: Head, packer: Codec, sink: Sink) -> End:
    """Fill the sink; Damaged when the log before its end is not whole, PeerError when the store does not answer."""
    sink.begin(_snapshot(objects, head, packer))
    last = head.replay_from - 1
    places: dict[int, Place] = {}
    for found in _log(objects, head):
        places.update(found.places)
        if found.is_commit:
            sink.apply(places, found.delta(packer))
            places, last = {}, found.stamp.seq
    _check_history(head, last)
    return End(last, last - head.replay_from + 1)


def _log(objects: store.Store, head: Head) -> Iterator[segment.Head]:
    """The segments' heads up to the first gap; some are asked for ahead, because each costs a round trip."""
    with futures.ThreadPoolExecutor(_AHEAD) as pool:
        asked = collections.deque[futures.Future[segment.Head | None]]()
        for seq in itertools.count(head.replay_from):
            asked.append(pool.submit(_next, objects, head, seq))
            if len(asked) == _AHEAD:
                found = asked.popleft().result()
                if found is None:
                    return
                yield found


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
        # The last PUT of a holder that died in it: nobody was told that it is durable. Anywhere else it is damage.
        if read_head(objects, head.disk, stamp._replace(seq=seq + 1)) is None:
            return None
        raise


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
    """Every epoch but the newest must be there to its end."""
    begun = head.history[-1][1] if head.history else 1
    if last + 1 < begun:
        raise Damaged(f"recover {head.disk}: the log ends at {last}, but epoch {head.history[-1][0]} began at {begun}")


class Books:
    """A `Sink` in memory: for tools that look at one volume."""

    def __init__(self) -> None:
        self.pages: dict[int, bytes] = {}
        self.roots: dict[str, bytes] = {}
        self.facts: dict[str, str] = {}
        self.places: dict[int, Place] = {}

    def begin(self, image: snapshot.Image) -> None:
        """These books, and nothing else."""
        self.pages, self.roots, self.facts = dict(image.pages), dict(image.roots), dict(image.facts)
        self.places = dict(image.places)

    def apply(self, places: Mapping[int, Place], delta: Delta) -> None:
        """One batch on top."""
        self.places.update(places)
        self.pages.update(delta.pages)
        if delta.full:
            self.roots, self.facts = {}, {}
        merge(self.roots, delta.roots.items())
        merge(self.facts, delta.facts.items())


V = TypeVar("V")


def merge(into: dict[str, V], changes: Iterable[tuple[str, V | None]]) -> None:
    """Changes onto a dict; None removes."""
    for key, value in changes:
        if value is None:
            into.pop(key, None)
        else:
            into[key] = value
