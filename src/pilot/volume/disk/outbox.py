"""What an open disk sends to its object store: one batch at a time, cut like a checkpoint that nobody names.

    cut_batch ─► slots are held, pages and roots stored ─► (`remote` sends it) ─► batch_sent      places noted, freed
                                                                               └► batch_dropped   unsent again

A crash with a batch under way loses nothing: what has no place in meta.db is unsent when the disk is opened again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from .. import crashpoint, layout
from ..books import batch
from ..facts import Facts
from ..names import Place
from . import slab
from .debt import Debt
from .opened import Opened
from .roots import Roots
from .stability import Stability
from .warmth import Warmth


class Outbox:
    """See the module. `dirty` and `hurry` are the debt's: when to send."""

    def __init__(self, opened: Opened, debt: Debt, stability: Stability, roots: Roots, warmth: Warmth) -> None:
        self._opened = opened
        self._lock, self._flushing, self._ledger = opened.lock, opened.flushing, opened.ledger
        self._debt = debt
        self._stability = stability
        self._roots = roots
        self._warmth = warmth
        self.dirty, self.hurry = debt.dirty, debt.hurry

    def cut_batch(self, *, whole: bool) -> batch.Batch:
        """Everything acknowledged so far, for the store; its slots stay as they are until `batch_sent` or
        `batch_dropped`. `whole`: with what a snapshot needs."""
        self._debt.check_fence()
        with self._flushing:
            with self._roots.cutting():
                self._ledger.cut()
                covers = self._stability.flushes_asked
                slots = self._ledger.take_unsent()
                self._debt.held = frozenset(slots)
                taken = self._stability.take()  # before writers go on: what is stored is exactly this cut
                known = self._ledger.facts.travelling()
            try:
                self._stability.store(taken)
                meta = self._opened.meta
                new = meta.unsent_pages()
                old = {n: page for n, page in meta.pages().items() if n not in new} if whole else None
                places = meta.places() if whole else None
                return batch.Batch(tuple(slots), new, meta.roots(), known, covers, time.time(), old, places)
            except BaseException:
                self._unhold(slots)
                raise

    def read_slot(self, slot: int) -> memoryview:
        """The content of a slot of the batch."""
        content = slab.aligned(layout.CHUNK_BYTES)
        self._opened.slab.read(slot, 0, content)
        return content

    def batch_sent(self, sent: batch.Batch, answer: batch.Sent | None) -> None:
        """The store has it. `answer` is None when it had everything before."""
        with self._flushing:
            with self._lock:
                places = answer.places if answer else {}
                # Freed meanwhile: whoever frees a slot forgets its place, so none may be noted after that.
                named = {slot: at for slot, at in places.items() if self._ledger.is_named(slot)}
                kept = [name for name, root in sent.roots.items() if self._ledger.roots.get(name) == root]

            def learn(known: Facts) -> Facts:
                return _as_sent(known, sent, kept, answer.seq if answer else known.local.seq)

            crashpoint.reach("upload: stored")
            self._opened.meta.sent(named, sent.pages, self._ledger.changes(learn))
            with self._lock:
                self._ledger.learn(learn)
                self._debt.pay(sent.covers)
            self._stability.free_retired()

    def batch_dropped(self, dropped: batch.Batch) -> None:
        """The store does not have it; what it held is unsent again."""
        self._unhold(dropped.slots)

    def _unhold(self, slots: Iterable[int]) -> None:
        with self._lock:
            self._debt.held = frozenset()
            self._ledger.unsent.update(slot for slot in slots if self._ledger.is_named(slot))

    def fence(self, why: str) -> None:
        """Another host has the volume: from now on nothing is acknowledged, and nothing read."""
        self._debt.fence(why)

    # ---- for compaction: what the store has, once more

    def stored_places(self) -> Mapping[int, Place]:
        """Where every slot is that the store has."""
        return self._opened.meta.places()

    def vouch(self, slot: int) -> bool:
        """Have a slot here as the store has it (`Warmth.vouch`)."""
        return self._warmth.vouch(slot)

    def send_again(self, slots: Sequence[int]) -> Sequence[int]:
        """Have these slots in the next batch although the store has them, as far as they are named and in the slab (and
        so they stay there until then); which."""
        with self._flushing, self._lock:  # nothing is evicted, and no batch cut
            again = [slot for slot in slots if self._ledger.is_named(slot) and not self._warmth.is_cold(slot)]
            self._ledger.unsent.update(again)
        self._debt.tell()
        return again

    def is_unsent(self, slots: Sequence[int]) -> bool:
        """Whether one of these slots is still to be sent."""
        with self._lock:
            return not (self._debt.held | self._ledger.unsent).isdisjoint(slots)


def _as_sent(known: Facts, sent: batch.Batch, kept: Sequence[str], seq: int) -> Facts:
    """What is known of a disk once the store has the batch; `kept`: its roots that are still the same."""
    local = known.local
    return known.replace_local(
        durable_at=sent.cut_at, durable_sealed=local.durable_sealed or sent.facts.sealed,
        durable_roots={**dict.fromkeys(kept, sent.cut_at), **local.durable_roots}, seq=seq,
    )  # fmt: skip
