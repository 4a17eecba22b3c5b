"""What the disk tells the one who answers plain requests without it (`_lookaside.Lookaside`, in C).

    ledger: where each chunk is, what may be written ── learn, forget ──► lookaside: a cache of that, never asked back

The rules that keep the cache from ever being wrong, all kept by `disk.Disk`:

    1. `learn` only what the ledger says, under the lock that guards the ledger; `writable` only while the chunk is in a
       write of ours, which nobody may cut
    2. before a chunk is written or trimmed by Python: `forget` it, and `settle` if it was writable
    3. before slots are punched or given out again: they are named by no entry, then `settle`
    4. before a cut (checkpoint, fork, batch for the store): `protect`
    5. `set_clean` only while nothing is noted that is not stored, and nobody waits for the store
    6. before the head becomes another root, slots are left to the store, or the disk is fenced: `clear`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Table(Protocol):
    """The part of `_lookaside.Lookaside` that a disk speaks to; its docstrings are there."""

    def set_slab(self, depth: int, fd: int) -> None: ...
    def set_size(self, size_bytes: int) -> None: ...
    def learn(self, first: int, places: Sequence[int], writable: bool) -> None: ...
    def forget(self, first: int, count: int) -> int: ...
    def settle(self) -> None: ...
    def protect(self) -> None: ...
    def clear(self) -> None: ...
    def set_clean(self, slab_fd: int) -> None: ...
    def take_written(self) -> bool: ...


class Nobody:
    """Of a disk that is not served: there is nobody to tell."""

    def set_slab(self, depth: int, fd: int) -> None:
        pass

    def set_size(self, size_bytes: int) -> None:
        pass

    def learn(self, first: int, places: Sequence[int], writable: bool) -> None:
        pass

    def forget(self, first: int, count: int) -> int:
        return 0

    def settle(self) -> None:
        pass

    def protect(self) -> None:
        pass

    def clear(self) -> None:
        pass

    def set_clean(self, slab_fd: int) -> None:
        pass

    def take_written(self) -> bool:
        return False
