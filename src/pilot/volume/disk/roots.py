"""Checkpoints and forks of an open disk: named roots of its map, made by a cut and stored by a commit.

    cut       wait until no write is under way ─ ledger.pin ─ writers run again ─ (thaw) ─ publish: its fact, a commit
    restore   stop writes ─ commit, so that the old head can be had again ─ another head, and that alone a commit
    drop      unpin ─ commit ─ sweep what only it reached ─ commit

A crash between any two steps leaves the old state or the new one; what a commit was kept from is found by the sweep at
the next opening. All of it is done under `flushing`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from msgspec import structs

from ... import errors
from ...ids import CheckpointId
from .. import crashpoint, facts
from ..checkpoint import Checkpoint
from .ahead import Ahead
from .debt import Debt
from .notes import Notes
from .opened import Opened
from .stability import Stability
from .traffic import Traffic


class Roots:
    """See the module."""

    def __init__(
        self, opened: Opened, traffic: Traffic, debt: Debt, notes: Notes, ahead: Ahead, stability: Stability
    ) -> None:
        self._opened = opened
        self._lock, self._flushing, self._ledger = opened.lock, opened.flushing, opened.ledger
        self._traffic = traffic
        self._debt = debt
        self._notes = notes
        self._ahead = ahead
        self._stability = stability

    @contextlib.contextmanager
    def cutting(self) -> Iterator[None]:
        """Nobody writes, and everything is as a root may name it; in the block under the lock."""
        with self._traffic.stopped():
            self._ahead.give_back()
            with self._lock:
                yield

    # ---- checkpoints

    def cut(self, checkpoint: CheckpointId) -> Cut:
        """Cut now: the checkpoint holds every write acknowledged so far, and none that begins later. Conflict when the
        id is taken.

        It exists only once `Cut.publish` has stored its fact. Flushes go on meanwhile (thawing a filesystem needs one)
        and may store its root; a root without its fact is dropped when the disk is opened.
        """
        with self._flushing, self.cutting():
            generation = self._ledger.facts.generation + 1
            self._ledger.pin(facts.CHECKPOINT + checkpoint)
            self._ledger.facts = structs.replace(self._ledger.facts, generation=generation)
        crashpoint.reach("checkpoint: cut in the worker")
        return Cut(self, checkpoint, generation)

    def publish(self, checkpoint: Checkpoint) -> None:
        """Store the fact of a cut."""
        with self._flushing:
            with self._lock:
                self._ledger.root(facts.CHECKPOINT + checkpoint.id)  # NotFound when storing it has failed meanwhile
                self._ledger.facts = self._ledger.facts.with_checkpoint(checkpoint)
            self._stability.commit_now()

    def drop_unpublished(self) -> None:
        """Roots of checkpoints that a crash kept from being published."""
        published = {facts.CHECKPOINT + checkpoint for checkpoint in self._ledger.facts.checkpoints}
        for name in [name for name in self._ledger.roots if name.startswith(facts.CHECKPOINT)]:
            if name not in published:
                self.drop(name)

    def delete_checkpoint(self, checkpoint: CheckpointId) -> None:
        """Forget it and free what only it held; NotFound."""
        self.drop(facts.CHECKPOINT + checkpoint)

    def drop(self, name: str) -> None:
        """Forget a root; NotFound."""
        with self._flushing:
            with self._lock:
                self._ledger.unpin(name)
            self._stability.commit_now()
            self._stability.sweep()

    # ---- another head

    def restore(self, checkpoint: CheckpointId) -> None:
        """The head becomes the checkpoint's content, in one commit; nothing may be reading or writing.

        StateError when somebody has written since the last flush: who is done with a disk (unmounts it) flushes it, so
        this is somebody who is not. A write that comes in the middle of it is EIO: it is meant for the old content.
        """
        with self._flushing:
            with self._traffic.stopped():
                with self._lock:
                    self._check_quiet(checkpoint)
                self._replace_head(lambda: self._ledger.restore(facts.CHECKPOINT + checkpoint))
            self._stability.sweep()

    def abandon(self) -> None:
        """The volume is deleted, forks still read from it: keep what they need only."""
        with self._flushing:
            with self._traffic.stopped():
                self._replace_head(self._clear)
            self._stability.sweep()

    def _clear(self) -> None:
        self._ledger.clear()
        for checkpoint in self._ledger.facts.checkpoints:
            self._ledger.unpin(facts.CHECKPOINT + checkpoint)

    def _replace_head(self, replace: Callable[[], None]) -> None:
        """The head becomes another root, or, when that cannot be stored, what it was. Under `flushing` and
        `Traffic.stopped`: what is written meanwhile would be noted for neither."""
        self._debt.check_fence()
        self._ahead.give_back()
        with self._lock:
            old = self._stability.take()
        self._stability.store(old)  # so that it can be had again
        with self._lock:
            replace()
            self._opened.lookaside.clear()
            new = self._stability.take()
        try:
            self._stability.store(new)
        except BaseException:
            # The head is the old one again, but reads have taught C the new one meanwhile.
            self._opened.lookaside.clear()
            raise
        crashpoint.reach("restore: stored")

    def _check_quiet(self, checkpoint: CheckpointId) -> None:
        """Under `Traffic.stopped` and the lock."""
        if not self._notes.touched:
            return
        unwritten = self._notes.unwritten = self._notes.take_unwritten()
        if unwritten or not self._notes.is_quiet:
            raise errors.StateError(
                f"restore {checkpoint}: the disk is in use: it was written to, and not synced since",
                hint="unmount it first",
            )

    # ---- forks

    def fork(self, child: str, checkpoint: CheckpointId | None = None) -> bytes:
        """Pin the head's (or a checkpoint's) content for the disk `child`; the root that the child starts from."""
        with self._flushing:
            with self.cutting():
                source = None if checkpoint is None else facts.CHECKPOINT + checkpoint
                root = self._ledger.pin(facts.FORK + child, source)
            self._stability.commit_now()
        return root

    def forks(self) -> Sequence[str]:
        """Disks for which something is pinned."""
        with self._lock:
            return [name.removeprefix(facts.FORK) for name in self._ledger.roots if name.startswith(facts.FORK)]

    def unfork(self, child: str) -> None:
        """The disk `child` is gone; NotFound."""
        self.drop(facts.FORK + child)


class Cut:
    """A checkpoint that is taken and not stored yet. Exactly one of `publish` and `cancel` must be called, soon."""

    def __init__(self, roots: Roots, checkpoint: CheckpointId, generation: int) -> None:
        self._roots = roots
        self._checkpoint = checkpoint
        self.generation = generation

    def publish(self, *, created_at: float, comment: str | None, frozen_ms: float, clean: bool) -> Checkpoint:
        """Store it; when this returns it survives anything. When it raises, there is no such checkpoint."""
        done = Checkpoint(self._checkpoint, self.generation, created_at, comment, frozen_ms, clean)
        self._roots.publish(done)
        return done

    def cancel(self) -> None:
        """As if it had never been taken."""
        self._roots.drop(facts.CHECKPOINT + self._checkpoint)
