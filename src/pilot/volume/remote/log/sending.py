"""How one cut of a disk is sent to the store: `send` is the whole protocol of a batch (`books.batch`).

    disk.cut_batch ─► segments stored, looked at ─► the one with COMMIT, too ─► (snapshot stored, looked at)
                   ─► HEAD confirmed or swapped ─► disk.batch_sent

The segments before the last are under way together while the next one is made: at most four of 8 MiB are in memory.
Each is looked at once it is stored: what is told to be durable may be evicted here, so a store's word alone is not
enough. The one with COMMIT comes when all others were seen, for with it a gap is damage; it is looked at beside the
question whether HEAD is still ours, so that no round trip is added. `uploader` runs it. A failure anywhere leaves the
batch as it was: it is sent again unchanged under the same stamps, or a later cut under those of a later epoch: never
another content under the same stamps, because a half-replaced batch would be a mixture.
"""

from __future__ import annotations

import collections
import functools
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Protocol

from ....ids import CheckpointId
from ... import facts, names
from ...books.batch import Batch, Sent
from ...facts import Facts
from ...names import Place
from . import codec, head, segment, snapshot
from .codec import Codec
from .hold import Hold, Stored

SNAPSHOT_SEGMENTS = 64


class Source(Protocol):
    """Where the content of a batch comes from."""

    def read_slot(self, slot: int) -> memoryview:
        """The 64 KiB of a slot of the batch."""


_THREADS = functools.partial(futures.ThreadPoolExecutor, segment.IN_FLIGHT, "put")


class Sender:
    """What the store was told in this epoch, so that the next batch tells what differs."""

    def __init__(self, hold: Hold, packer: Codec, make_pool: Callable[[], futures.Executor] = _THREADS) -> None:
        self.hold = hold
        self._make_pool = make_pool
        self._packer = packer
        self._roots: Mapping[str, bytes] | None = None
        self._facts: Facts | None = None

    @property
    def wants_snapshot(self) -> bool:
        """Whether recovery would have to replay many segments."""
        return self.replayed >= SNAPSHOT_SEGMENTS

    @property
    def replayed(self) -> int:
        """How many segments recovery would have to replay."""
        return self.hold.next_seq - self.hold.head.replay_from

    def is_news(self, batch: Batch) -> bool:
        """Whether the batch says anything that the store does not have."""
        return bool(batch.slots or batch.pages) or (batch.roots, batch.facts) != (self._roots, self._facts)

    def send(self, batch: Batch, source: Source) -> Sent:
        """Store and confirm it. PeerError: try again; Unkept: claim it anew, then; Fenced: never again."""
        places: dict[int, Place] = {}
        with self._make_pool() as pool:
            last, seq = self._store(batch, source, pool, places)
            self._confirm(batch, seq, places, pool.submit(self.hold.look, last))
        self.hold.next_seq = seq + 1
        self._roots, self._facts = batch.roots, batch.facts
        return Sent(seq, places)

    def _store(
        self, batch: Batch, source: Source, pool: futures.Executor, places: dict[int, Place]
    ) -> tuple[Stored, int]:
        """The last segment, at which nobody has looked yet, and its seq; the places of all slots go to `places`."""
        under_way = collections.deque[futures.Future[None]]()
        for made in segment.build(
            self.hold.stamp, batch.facts.generation, batch.slots, source.read_slot, self._delta(batch), self._packer
        ):
            while len(under_way) > (0 if made.commits else segment.IN_FLIGHT - 1):
                under_way.popleft().result()
            places.update(made.places)
            if not made.commits:
                under_way.append(pool.submit(self._store_and_look, made))
        return self.hold.store(made), made.stamp.seq

    def _store_and_look(self, made: segment.Encoded) -> None:
        self.hold.look(self.hold.store(made))

    def _confirm(self, batch: Batch, seq: int, places: Mapping[int, Place], look: futures.Future[None]) -> None:
        """HEAD says nothing of what nobody has seen. That it is still ours can be asked meanwhile; or afterwards, when
        it is swapped: a swap that was confirmed and not done is no proof of it."""
        news = self._facts is None or self._facts.checkpoints != batch.facts.checkpoints
        if batch.old_places is None and not news:
            self.hold.confirm()
        look.result()
        if batch.old_places is not None:
            self._snapshot(batch, seq, places)
            self.hold.confirm()
        elif news:
            self.hold.change(lambda known: _with_state(known, batch, seq))
            self.hold.confirm()

    def close(self) -> None:
        """Leave a HEAD that says how far the log goes."""
        if self.hold.head.seq != self.hold.next_seq - 1:
            seq = self.hold.next_seq - 1
            self.hold.change(lambda known: head.with_seq(known, seq, time.time()))

    def _delta(self, batch: Batch) -> segment.Delta:
        if self._roots is None or self._facts is None:
            return segment.Delta(dict(batch.pages), dict(batch.roots), {**batch.facts.rows()}, full=True)
        return segment.Delta(
            dict(batch.pages), _changes(self._roots, batch.roots), facts.changes(self._facts, batch.facts)
        )

    def _snapshot(self, batch: Batch, seq: int, places: Mapping[int, Place]) -> None:
        assert batch.old_pages is not None
        assert batch.old_places is not None
        stamp = names.Stamp(self.hold.head.epoch, seq)
        image = snapshot.Image(
            {**batch.old_pages, **batch.pages}, dict(batch.roots), batch.facts.rows(),
            snapshot.table([*batch.old_places.items(), *places.items()]),
        )  # fmt: skip
        data = snapshot.encode(stamp, image, self._packer)
        key = names.snapshot(self.hold.head.disk, stamp)
        self.hold.objects.put(key, data)
        self.hold.look(Stored.of(key, data))
        ref = head.SnapshotRef(stamp.epoch, seq, codec.digest(data).hex(), len(data))
        self.hold.change(lambda known: head.with_snapshot(_with_state(known, batch, seq), ref, time.time()))


def _changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> dict[str, bytes | None]:
    changed: dict[str, bytes | None] = {key: value for key, value in after.items() if before.get(key) != value}
    changed.update(dict.fromkeys(before.keys() - after.keys()))
    return changed


def _with_state(known: head.Head, batch: Batch, seq: int) -> head.Head:
    points = [
        head.SavePoint(CheckpointId(row.id), row.generation, row.created_at, row.comment)
        for _, row in sorted(batch.facts.checkpoints.items())
    ]
    return head.with_state(
        known, seq=seq, size_bytes=batch.facts.size_bytes, checkpoints=points, sealed=batch.facts.sealed,
        now=time.time(),
    )  # fmt: skip
