"""What was acknowledged and is not in the stored map: noted where the death of the process, or a power loss, does not
reach it.

    write ─ note ─► log of changes (memory that volumed holds too) ─ flush ─► journal ─ commit ─► map, and both are void

All positions count records of the log: first <= noted <= journaled <= position.
"""

from __future__ import annotations

from ..books import delta
from .opened import Opened

NOT_CLEAN = -1
_RETIRED_SLOTS = 256  # with more than that, a flush stores the map, which frees them


class Notes:
    """See the module. All methods under the lock of the disk."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._delta, self._journal, self._ledger = opened.delta, opened.journal, opened.ledger
        self.noted, self.journaled = opened.noted, opened.journaled
        self.unwritten = True  # a killed predecessor may have written what it never synced
        # Whether somebody wrote since it was opened; a killed predecessor, too, as far as it left a trace.
        is_ours = self._delta.era == self._ledger.era
        self.touched = is_ours and self._delta.position > self.journaled
        if not is_ours or self._delta.position < self.journaled:
            self._delta.reset(self._ledger.era, self.journaled)
            self.journaled = self._delta.position

    @property
    def position(self) -> int:
        """How many changes were ever noted."""
        return self._delta.position

    @property
    def is_filling(self) -> bool:
        """Whether a flush should make room in the log."""
        return self._delta.is_filling

    @property
    def is_quiet(self) -> bool:
        """Whether everything noted is in the journal, or in the map."""
        return self._delta.position == self.journaled

    def note(self, change: delta.Change) -> None:
        """A change of the map is acknowledged soon."""
        self.touched = True
        self._delta.append(change)
        self._opened.lookaside.set_clean(NOT_CLEAN)

    def mark_written(self) -> None:
        """The slab has what is not synced."""
        self.unwritten = True
        self._opened.lookaside.set_clean(NOT_CLEAN)  # whoever syncs for us would not tell us

    def take_unwritten(self) -> bool:
        """Whether the slab has to be synced; the caller does, or gives it back."""
        unwritten = self._opened.lookaside.take_written() or self.unwritten  # taken whatever we know ourselves
        self.unwritten = False
        return unwritten

    def unsynced(self) -> bytes:
        """The records that the journal does not have."""
        return self._delta.records(self.journaled)

    def fits_journal(self) -> bool:
        """Whether the journal can take what is not stable yet, so that the map need not be stored."""
        fits = self._journal.has_room(self._delta.position - self.journaled)
        return fits and not self._delta.is_filling and self._ledger.slots.count_retired() <= _RETIRED_SLOTS

    def tell_clean(self, *, may_be: bool) -> None:
        """Tell C whether a flush would have to do more than sync the slab; `may_be`: nobody wants more of a flush."""
        clean = may_be and self.is_quiet and not self.unwritten
        self._opened.lookaside.set_clean(self._opened.slab.fd if clean else NOT_CLEAN)

    def stored(self, position: int) -> None:
        """The map has everything up to this position."""
        if self._delta.era == self._ledger.era:
            self._delta.drop_until(position)
        else:
            self._delta.reset(self._ledger.era)
        self._journal.restart()
        self.noted = position
        self.journaled = max(position, self._delta.first)
