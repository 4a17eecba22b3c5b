"""Which slots of a slab are free, and which may be overwritten: one byte of state per slot.

    FREE ──allocate──► FRESH ──cut──► YOUNG ──pin──► OLD          FRESH: of this generation, written in place
      ▲                  │              │ ◄───sweep───┤           YOUNG: no checkpoint names it, but it is immutable
      └────free──── RETIRED ◄─release───┴──────sweep──┘           OLD: a checkpoint or a fork may name it

A RETIRED slot is still named by the map on disk; it becomes FREE (and a hole) once a newer map is stored and nobody
reads it any more. FREE slots read as zeros. Changing the state of every slot is one `bytes.translate`, so a cut costs
the same for any disk. No file, no lock.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class SlotState(enum.IntEnum):
    """State of one slot."""

    FREE = 0
    OLD = 1
    YOUNG = 2
    FRESH = 3
    RETIRED = 4


def _table(changes: dict[int, int]) -> bytes:
    return bytes(changes.get(n, n) for n in range(256))


_CUT = _table({SlotState.FRESH: SlotState.YOUNG})
_USED = _table({state: int(state != SlotState.FREE) for state in SlotState})
_PIN = _table({SlotState.FRESH: SlotState.OLD, SlotState.YOUNG: SlotState.OLD})


class Slots:
    """States of all slots; slot 0 (the slab's header) is never given out."""

    def __init__(self, used: Iterable[int] = ()) -> None:
        numbers = list(used)
        self._state = bytearray(max(numbers, default=0) + 1)
        self._state[0] = SlotState.OLD
        for number in numbers:
            self._state[number] = SlotState.OLD
        self._hint = 1
        self._retired: list[int] = []

    def __len__(self) -> int:
        return len(self._state)

    def state(self, slot: int) -> SlotState:
        """The state of one slot."""
        return SlotState(self._state[slot]) if slot < len(self._state) else SlotState.FREE

    def count_used(self) -> int:
        """Slots that hold something, the header not counted."""
        return len(self._state) - 1 - self._state.count(SlotState.FREE)

    def used(self) -> bytearray:
        """One byte per slot: 1 for those that hold something."""
        found = self._state.translate(_USED)
        found[0] = 0
        return found

    def allocate(self) -> int:
        """A FREE slot, now FRESH; the next after the last one given out if possible, so that runs are contiguous."""
        slot = self._state.find(SlotState.FREE, self._hint)
        if slot < 0:
            slot = len(self._state)
            self._state.append(SlotState.FREE)
        self._state[slot] = SlotState.FRESH
        self._hint = slot + 1
        return slot

    def allocate_run(self, limit: int) -> tuple[int, int]:
        """(first, count): up to `limit` consecutive slots from `allocate`; at least one."""
        first = self.allocate()
        count = 1
        while count < limit and self.state(first + count) == SlotState.FREE:
            self.allocate()
            count += 1
        return first, count

    def is_fresh(self, slot: int) -> bool:
        """Whether the slot may be overwritten in place."""
        return self._state[slot] == SlotState.FRESH

    def release(self, slot: int) -> None:
        """The head no longer names the slot; OLD ones are left to `sweep`."""
        if self._state[slot] in (SlotState.FRESH, SlotState.YOUNG):
            self._retire(slot)

    def sweep(self, live: bytearray, named: bytearray) -> int:
        """Retire every OLD slot whose byte in `live` is 0; how many. Of the others, those whose byte in `named` is 0
        have only the head, and go when it goes on."""
        retired = 0
        for slot in [n for n in range(1, len(self._state)) if self._state[n] == SlotState.OLD]:
            if not live[slot]:
                self._retire(slot)
                retired += 1
            elif not named[slot]:
                self._state[slot] = SlotState.YOUNG
        return retired

    def cut(self) -> None:
        """Nothing is written in place any more."""
        self._state = self._state.translate(_CUT)

    def pin(self) -> None:
        """A checkpoint or fork names all that the head names."""
        self._state = self._state.translate(_PIN)

    def count_retired(self) -> int:
        """Slots that a stored map would free."""
        return len(self._retired)

    def take_retired(self) -> list[int]:
        """The slots retired since the last call."""
        taken, self._retired = self._retired, []
        return taken

    def retire_again(self, slots: list[int]) -> None:
        """Take back `take_retired`: the newer map could not be stored."""
        self._retired += slots

    def free(self, slots: Iterable[int]) -> None:
        """These retired slots are holes now and may be given out."""
        for slot in slots:
            self._state[slot] = SlotState.FREE
            self._hint = min(self._hint, slot)

    def free_runs(self) -> list[tuple[int, int]]:
        """(first, count) of each contiguous run of FREE slots."""
        runs: list[tuple[int, int]] = []
        start = self._state.find(SlotState.FREE)
        while start >= 0:
            end = start
            while end < len(self._state) and self._state[end] == SlotState.FREE:
                end += 1
            runs.append((start, end - start))
            start = self._state.find(SlotState.FREE, end)
        return runs

    def _retire(self, slot: int) -> None:
        self._state[slot] = SlotState.RETIRED
        self._retired.append(slot)
