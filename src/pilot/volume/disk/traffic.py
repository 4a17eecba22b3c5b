"""Who of a disk's threads may go on: writers chunk by chunk, everybody at a cut, and who still reads what is freed.

    writing   waits until nobody else writes these chunks, nor cuts
    gated     lets no write begin, and waits out those under way
    stopped   as gated, and C answers no write in place any more
    reading   takes a ticket: slots that were retired later than the oldest ticket wait for its end

Requests that C answers (`lookaside`) do not come here: that is what `forget`, `settle` and `protect` are for.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Iterator

from .opened import Opened

_READERS_S = 0.1  # flushes wait meanwhile


class Traffic:
    """See the module."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._lock = opened.lock
        self._busy: set[int] = set()
        self._gate = False
        self._tickets = itertools.count()
        self._readers: dict[int, None] = {}
        self.is_watched = False  # somebody may wait for readers: each that ends has to tell

    @contextlib.contextmanager
    def writing(self, first: int, count: int, era: int) -> Iterator[None]:
        """`era`: when it was asked for. OSError (EIO) when the head has been replaced since."""
        chunks = range(first, first + count)
        with self._lock:
            while self._gate or not self._busy.isdisjoint(chunks):
                self._lock.wait()
            if self._opened.ledger.era != era:
                raise OSError(
                    errno.EIO, "a checkpoint was restored before this write: it was meant for the old content"
                )
            self._busy.update(chunks)
            was_writable = self._opened.lookaside.forget(first, count)
        try:
            if was_writable:
                # C may be in the middle of a write to one of these chunks. New ones it hands to us, so one wait is
                # enough; not under the lock, which that write's end may need.
                self._opened.lookaside.settle()
            yield
        finally:
            with self._lock:
                self._busy.difference_update(chunks)
                self._lock.notify_all()

    def is_busy(self, chunk: int) -> bool:
        """Whether somebody writes the chunk now. Under the lock."""
        return chunk in self._busy

    @contextlib.contextmanager
    def gated(self) -> Iterator[None]:
        """Wait out the writes under way in Python and let none begin."""
        with self._lock:
            while self._gate:
                self._lock.wait()
            self._gate = True  # first, so that writers that keep coming do not keep us waiting for ever
            while self._busy:
                self._lock.wait()
        try:
            yield
        finally:
            with self._lock:
                self._gate = False
                self._lock.notify_all()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """As `gated`, and nothing is written in place any more: acknowledged writes are before the cut, others after.

        Without this a write that began before a cut could change a slot that the cut made immutable.
        """
        with self.gated():
            self._opened.lookaside.protect()
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """What the ledger names at the beginning stays in the slab until the end."""
        with self._lock:
            ticket = next(self._tickets)
            self._readers[ticket] = None
        try:
            yield
        finally:
            with self._lock:
                del self._readers[ticket]
                if self.is_watched:
                    self._lock.notify_all()

    def take_ticket(self) -> int:
        """A point between readers: those before it may see what is retired now. Under the lock."""
        return next(self._tickets)

    def has_readers_before(self, ticket: int) -> bool:
        """Whether one that began before the ticket still reads. Under the lock."""
        # Tickets only grow, and a dict keeps its order: the first is the oldest.
        return next(iter(self._readers), ticket) < ticket

    def wait_for_readers(self) -> bool:
        """Whether everybody who was reading is done, soon. One of them may wait for what is being evicted, so this must
        not wait for long."""
        with self._lock:
            ticket = next(self._tickets)
            return self._lock.wait_for(lambda: not self.has_readers_before(ticket), _READERS_S)
