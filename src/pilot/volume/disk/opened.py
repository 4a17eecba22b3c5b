"""The files and the books of one open disk, with the two locks that guard them: what all its parts share.

Two locks, always taken in this order, and by whoever needs both:

    flushing   one commit, flush, eviction or batch at a time; held over I/O
    lock       guards the ledger and what the parts say about threads; never held over I/O, except to load a page of
               the map. It is a condition: who waits for another thread (`traffic`, `debt`) waits here.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Sequence

from ... import errors
from ...kernel import files
from .. import layout
from ..books import delta, ledger
from . import journal, lookaside, meta, sharing, slab
from .lineage import Lineage


class Opened:
    """See the module. Everything is closed by `close`, or when opening fails."""

    def __init__(self, directory: str, lineage: Sequence[str], delta_fd: int | None) -> None:
        self.directory = directory
        self.depth = len(lineage)
        self.lock = threading.Condition()
        self.flushing = threading.Lock()
        self.lookaside: lookaside.Table = lookaside.Nobody()
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self._stack)
            lock_fd = files.lock(
                os.path.join(directory, "lock"), f"open disk: {directory}: another process has it open"
            )
            self._stack.callback(os.close, lock_fd)
            self.sharing = self._stack.enter_context(contextlib.closing(sharing.Readers(directory)))
            self.meta = self._stack.enter_context(contextlib.closing(meta.Meta(directory)))
            facts = self.meta.facts()
            self.lineage = Lineage(lineage, self._stack, is_limited=facts.local.cache_bytes is not None)
            self.slab = self._stack.enter_context(contextlib.closing(slab.Slab(directory)))
            self.delta = self._open_delta(delta_fd)
            self.journal = self._stack.enter_context(contextlib.closing(journal.Journal(directory)))
            # Up to where the stored map has everything, and up to where the journal has.
            self.noted, self.journaled = facts.local.noted, 0
            self.replayed: list[delta.Change] = []
            self.ledger = ledger.Ledger(self.meta, self.depth, self.lineage.page, self._replay)
            self._check_slab()
            undo.pop_all()

    def _open_delta(self, delta_fd: int | None) -> delta.DeltaLog:
        """The log that outlives this process, or one of our own, for nobody."""
        own_fd = None if delta_fd is not None else delta.create()
        fd = delta_fd if own_fd is None else own_fd
        assert fd is not None
        try:
            return self._stack.enter_context(contextlib.closing(delta.DeltaLog(fd)))
        finally:
            if own_fd is not None:
                os.close(own_fd)  # its memory stays mapped

    def _replay(self, era: int) -> list[delta.Change]:
        """What was acknowledged and is not in the stored map. What the journal has comes first: if the delta has the
        same, it has everything after it too."""
        if not self.journal.exists and self.delta.era == era:
            self.noted = max(self.noted, self.delta.first)  # of a time when there were no journals
        changes, self.journaled = self.journal.replay(era, self.noted)
        if self.delta.position >= self.journaled:  # otherwise somebody had the disk open without it, after it
            changes += self.delta.changes(era)
        self.replayed = changes
        return changes

    def _check_slab(self) -> None:
        """Growing a slab that was truncated would make zeros of what is gone."""
        needed, there = len(self.ledger.slots), self.slab.slots_written()
        if there < needed:
            raise errors.HostError(
                f"open disk: {self.slab.path}: ends after slot {there} of {needed}: it was truncated"
            )

    def slab_at(self, depth: int) -> slab.Slab:
        """The slab of the disk at this depth of the lineage: our own, or an ancestor's."""
        return self.slab if depth == self.depth else self.lineage[depth].slab

    def load_page(self, at: int) -> bytes:
        """A page of the map, our own or an ancestor's."""
        own = layout.depth_of(at) == self.depth
        return self.meta.page(layout.number_of(at)) if own else self.lineage.page(at)

    def named(self, slots: Iterable[int]) -> Sequence[int]:
        """Which of these slots of our own a root may still name."""
        with self.lock:
            return [slot for slot in slots if self.ledger.is_named(slot)]

    def use_lookaside(self, table: lookaside.Table) -> None:
        """Who answers requests without us is told what it needs from now on; before anybody else uses the disk."""
        for depth, ancestor in enumerate(self.lineage):
            table.set_slab(depth, ancestor.slab.fd)
        table.set_slab(self.depth, self.slab.fd)
        self.lookaside = table

    def close(self) -> None:
        """Let go of all files, as a process does that is killed: nothing is stored."""
        self._stack.close()
