"""Makes what was written stable: by a flush into the journal, or by a commit of the map.

    flush     slab.sync ─ journal.append; or, when that is full or slots are to be freed:
    commit    ledger.take ─ slab.sync ─ meta.commit ─ ledger.stored ─ punch and free the slots that nobody reads

Everything here is done under `flushing`: one at a time. What a crash leaves between any two steps is said in `ledger`.
"""

from __future__ import annotations

import logging

import msgspec

from .. import crashpoint
from ..books import ledger, pieces
from . import room
from .ahead import Ahead
from .debt import Debt
from .notes import Notes
from .opened import Opened
from .traffic import Traffic
from .warmth import Warmth

_log = logging.getLogger(__name__)
_NO_TICKET = -1  # nobody reads these slots any more


class Taken(msgspec.Struct, frozen=True):
    """A commit about to be stored, and where the log of changes, the slab and the readers were."""

    commit: ledger.Commit
    position: int
    unwritten: bool
    ticket: int


class Stability:
    """See the module."""

    def __init__(
        self, opened: Opened, traffic: Traffic, debt: Debt, notes: Notes, ahead: Ahead, warmth: Warmth
    ) -> None:
        self._opened = opened
        self._lock, self._flushing = opened.lock, opened.flushing
        self._ledger, self._slab, self._journal = opened.ledger, opened.slab, opened.journal
        self._traffic = traffic
        self._debt = debt
        self._notes = notes
        self._ahead = ahead
        self._warmth = warmth
        self._waiting_free: list[tuple[int, tuple[int, ...]]] = []
        self._flush_done = 0
        self._flush_asked = 0

    @property
    def flushes_asked(self) -> int:
        """The number of the last flush that was asked for. Under the lock."""
        return self._flush_asked

    # ---- flush

    def flush(self) -> None:
        """All writes that were acknowledged before this call are stable when it returns."""
        with self._lock:
            self._flush_asked += 1
            ticket = self._flush_asked
        with self._flushing:
            # Group commit: whoever waited here was asked before somebody else's flush began, which has covered it.
            if self._flush_done < ticket:
                with self._lock:
                    covered = self._flush_asked
                if not self._append_to_journal():
                    self.commit_now()
                    self._ensure_journal()
                self._flush_done = covered
        self._debt.wait_for_store(ticket)

    def _append_to_journal(self) -> bool:
        """All that was noted becomes stable; False when the map is to be stored instead. Under `flushing`."""
        self._debt.check_fence()
        with self._lock:
            if not self._notes.fits_journal():
                return False
            # What is written from here on is not covered: it was not acknowledged when the flush was asked for.
            unwritten = self._notes.take_unwritten()
            position, records = self._notes.position, self._notes.unsynced()
        try:
            if unwritten or records:
                self._slab.sync()
            crashpoint.reach("flush: data is stable")
            if records:
                self._journal.append(self._ledger.era, self._notes.journaled, records)
        except BaseException as error:
            with self._lock:
                self._notes.unwritten = self._notes.unwritten or unwritten
            if room.is_full(error):
                return False  # the map has a reserve
            raise
        crashpoint.reach("flush: in the journal")
        with self._lock:
            self._notes.journaled = position
            self._tell_clean()
        return True

    def _ensure_journal(self) -> None:
        """There is one, if the filesystem has room for it. Under `flushing`, with the map stored."""
        try:
            if not self._journal.exists:
                self._journal.create()
        except OSError as error:
            # Then every flush stores the map, as this one did.
            _log.warning("journal of %s: %s", self._opened.directory, error)

    def _tell_clean(self) -> None:
        self._notes.tell_clean(may_be=not self._debt.waits_for_store and self._debt.fenced is None)

    # ---- commit

    def commit(self) -> None:
        """As `flush`, and meta.db has everything: nothing is left to the journal."""
        with self._flushing:
            self.commit_now()

    def commit_now(self) -> None:
        """Store what `ledger.take` gives. Under `flushing`."""
        self._debt.check_fence()
        with self._lock:
            taken = None if self._ahead else self.take()
        if taken is None:
            # What is given back must not be written meanwhile, so writers stop for it.
            with self._traffic.gated():
                self._ahead.give_back()
                with self._lock:
                    taken = self.take()
        self.store(taken)

    def take(self) -> Taken:
        """What is to be stored now. Under `flushing` and the lock, with nothing reserved ahead."""
        position = self._notes.position
        if position != self._notes.noted:
            self._ledger.facts = self._ledger.facts.replace_local(noted=position)
        return Taken(self._ledger.take(), position, self._notes.take_unwritten(), self._traffic.take_ticket())

    def store(self, taken: Taken) -> None:
        """Store it. Under `flushing`; writers run."""
        commit = taken.commit
        try:
            if taken.unwritten or commit.pages:
                self._slab.sync()
            crashpoint.reach("commit: data is stable")
            if commit.pages or commit.roots or commit.facts or commit.dropped_roots or commit.dropped_pages:
                self._opened.meta.commit(commit)
        except BaseException as error:
            with self._lock:
                self._notes.unwritten = self._notes.unwritten or taken.unwritten
                self._ledger.not_stored(commit)
            if not room.is_full(error):  # then it may be stored, for all we know
                self._journal.stop()
            raise
        crashpoint.reach("commit: map is stored")
        with self._lock:
            self._ledger.stored(commit)
            self._notes.stored(taken.position)
            self._tell_clean()
        if commit.roots or commit.facts or commit.pages:
            self._debt.tell()
        if commit.retired:
            self._waiting_free.append((taken.ticket, commit.retired))
        self.free_retired()

    # ---- what is free again

    def sweep(self) -> None:
        """Free what no root reaches. Under `flushing`, with everything stored."""
        with self._lock:
            self._ledger.sweep()
        self.commit_now()

    def free_retired(self) -> None:
        """Punch and free the retired slots whose last possible reader is gone. Under `flushing`."""
        with self._lock:
            count = next(
                (n for n, (ticket, _) in enumerate(self._waiting_free) if self._traffic.has_readers_before(ticket)),
                len(self._waiting_free),
            )
            ready = [slots for _, slots in self._waiting_free[:count]]
            self._waiting_free = self._waiting_free[count:]
            # A batch that is under way reads its slots when it comes to them.
            if held := tuple(slot for slots in ready for slot in slots if slot in self._debt.held):
                self._waiting_free.insert(0, (_NO_TICKET, held))
                ready = [tuple(slot for slot in slots if slot not in self._debt.held) for slots in ready]
            for slots in ready:
                self._warmth.forget(slots)
        if ready:
            # Nothing names them any more, but C may still be in a request that it began when something did.
            self._opened.lookaside.settle()
        for slots in ready:
            self._free(slots)

    def _free(self, slots: tuple[int, ...]) -> None:
        try:
            for first, count in pieces.contiguous(sorted(slots)):
                self._slab.punch(first, count)
        except OSError as error:
            # What was stored is stored: whoever stored it does not hear of this, and it is tried again next time.
            _log.warning("punch %s: %s", self._slab.path, error)
            self._waiting_free.insert(0, (_NO_TICKET, slots))
            return
        with self._lock:
            self._ledger.slots.free(slots)

    def punch_free_slots(self) -> None:
        """A crash may have come between a commit and the punching: FREE must mean hole again."""
        used = len(self._ledger.slots)
        for first, count in self._ledger.slots.free_runs():
            self._slab.punch(first, count)
        beyond = self._slab.slots_written() - used
        if beyond > 0:
            self._slab.punch(used, beyond)
