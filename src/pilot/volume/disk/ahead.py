"""Slots that are reserved ahead of who writes chunk after chunk, so that C may write them without asking anybody.

They are holes that the map already names. Before a map is stored, what was not written is given back (`give_back`), so
that no stored map names what is none; until then a crash leaves holes that read as zeros, as they did before.
"""

from __future__ import annotations

from .. import layout
from ..books import pieces
from .debt import Debt
from .notes import Notes
from .opened import Opened
from .room import Gauge
from .traffic import Traffic

# How much is reserved ahead of a stream, from when on, and which part of the store's dirty limit that may take.
_AHEAD_CHUNKS, _STREAK_CHUNKS, _AHEAD_SHARE = 256, 2, 8


class Ahead:
    """See the module."""

    def __init__(self, opened: Opened, traffic: Traffic, debt: Debt, notes: Notes, gauge: Gauge) -> None:
        self._opened = opened
        self._lock, self._ledger, self._slab = opened.lock, opened.ledger, opened.slab
        self._traffic = traffic
        self._debt = debt
        self._notes = notes
        self._gauge = gauge
        # What may be reserved and not written; of a predecessor that was killed, anything it had noted.
        self.reserved = [change for change in opened.replayed if change.place]

    def __bool__(self) -> bool:
        return bool(self.reserved)

    def follow(self, chunk: int) -> None:
        """Who wrote chunk after chunk up to this one goes on: what comes next needs nobody's decision. Under the lock.

        Chunks that another thread writes now are its own: a reservation ends before them.
        """
        limit = self._ledger.streak(chunk, _AHEAD_CHUNKS)
        limit = next((n for n in range(limit) if self._traffic.is_busy(chunk + 1 + n)), limit)
        if limit < _STREAK_CHUNKS or not self._may_reserve(limit):
            return
        reserved = self._ledger.reserve(chunk + 1, limit)
        if reserved is not None:
            self._slab.reserve(layout.number_of(reserved.place) + reserved.count)
            self._notes.note(reserved)
            self.reserved.append(reserved)
            self._opened.lookaside.learn(reserved.first, [at for _, at in reserved.places()], True)

    def _may_reserve(self, count: int) -> bool:
        size, cap = count * layout.CHUNK_BYTES, self._debt.cap_bytes
        has_time = cap is None or self._debt.owed_bytes + size <= cap // _AHEAD_SHARE
        return has_time and self._debt.fenced is None and self._gauge.affords(size)

    def count_unwritten(self) -> int:
        """Slots that were reserved and not written yet. Under the lock."""
        runs = ((layout.number_of(reserved.place), reserved.count) for reserved in self.reserved)
        return sum(count for first, reach in runs for _, count in self._slab.holes(first, reach))

    def give_back(self) -> None:
        """What was reserved and never written becomes holes again. While nobody writes (`Traffic.gated`): C forgets the
        chunks first, and is waited for, so that a hole found below stays one."""
        for reserved in self.reserved:
            self._opened.lookaside.forget(reserved.first, reserved.count)
        self._opened.lookaside.settle()
        with self._lock:
            for reserved in self.reserved:
                slot = layout.number_of(reserved.place)
                for first, count in self._slab.holes(slot, reserved.count):
                    self._give_back_run(reserved.first + first - slot, layout.place(self._opened.depth, first), count)
            self.reserved.clear()

    def _give_back_run(self, chunk: int, at: int, count: int) -> None:
        """Chunks that are still where they were reserved become holes. Under the lock. That is not noted, so a full log
        is no hindrance: until a map is stored without them, these slots are holes, which read the same."""
        there = [n for n, now in enumerate(self._ledger.places(chunk, count)) if now == at + n]
        for first, length in pieces.contiguous(there):
            self._opened.lookaside.forget(chunk + first, length)
            self._ledger.trim(chunk + first, length)
