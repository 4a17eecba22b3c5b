"""What a disk owes its object store, who has to wait because of it, and the end of all that: the fence.

    owed      slots that are `unsent` (the ledger's) or `held` (in the batch that is under way)
    dirty     set when there is something to send; hurry: when it should be soon
    waiting   writers, when too much is owed; flushes, where the store has to have what they cover; and who needs room
    fenced    another host has the volume: from now on nothing is acknowledged, and nothing read

Without a store nothing is ever owed, and nobody waits.
"""

from __future__ import annotations

import errno
import threading

from .. import layout
from .notes import NOT_CLEAN
from .opened import Opened

_HURRY_BYTES = 8 << 20
_PATIENCE_S = 1.0


class Debt:
    """See the module. `patience` counts the seconds that somebody waited for the store, which is not being stuck."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._lock = opened.lock
        self.dirty, self.hurry = threading.Event(), threading.Event()
        self.patience = 0
        self.fenced: str | None = None
        self.cap_bytes: int | None = None
        self.waits_for_store = False
        self.held: frozenset[int] = frozenset()
        self._covered = 0

    @property
    def owed_bytes(self) -> int:
        """Under the lock."""
        return (len(self._opened.ledger.unsent) + len(self.held)) * layout.CHUNK_BYTES

    def tell(self) -> None:
        """Something was written."""
        if not self.dirty.is_set():
            self.dirty.set()
        # Read without the lock: a moment too early or too late does not matter.
        if len(self._opened.ledger.unsent) * layout.CHUNK_BYTES >= _HURRY_BYTES:
            self.hurry.set()

    def check_fence(self) -> None:
        """OSError (EIO) when another host has the volume."""
        if self.fenced is not None:
            raise OSError(errno.EIO, self.fenced)

    def wait_for_room(self) -> None:
        """Back-pressure: with too much that the store does not have, writers wait for it."""
        self.check_fence()
        if self.cap_bytes is None:
            return
        with self._lock:
            while self.owed_bytes > self.cap_bytes:
                self._wait_patiently()

    def wait_for_store(self, ticket: int) -> None:
        """Where that is asked for: until the store has what the flush with this number covers."""
        if not self.waits_for_store:
            return
        with self._lock:
            while self._covered < ticket:
                self.hurry.set()
                self.dirty.set()
                self._wait_patiently()

    def await_store(self) -> bool:
        """Wait a moment for what is on its way to the store; False when nothing is."""
        with self._lock:
            if self.cap_bytes is None or not self.owed_bytes:
                return False
            self.hurry.set()
            self.dirty.set()
            self._wait_patiently()
        return True

    def _wait_patiently(self) -> None:
        if not self._lock.wait(_PATIENCE_S):
            self.patience += 1
        self.check_fence()

    def pay(self, covers: int) -> None:
        """The store has what was held, and with it the flushes up to `covers`. Under the lock."""
        self.held = frozenset()
        self._covered = max(self._covered, covers)
        self._lock.notify_all()

    def fence(self, why: str) -> None:
        """Another host has the volume."""
        with self._lock:
            self.fenced = why
            # C asks nobody: from here on it has nothing to answer from, and flushes come to us.
            self._opened.lookaside.set_clean(NOT_CLEAN)
            self._opened.lookaside.clear()
            self._lock.notify_all()
