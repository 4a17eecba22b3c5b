"""One output stream of a session: recorded without loss, read by any number of clients at their own pace.

    process ─► pipe or pty ─splice─► memfd ◄─pread─ Cursor, Cursor, ...

What is kept: everything that a connected client has not read yet, and of the rest as much as the machine's budget has
room for, the newest (`record_budget`). When the slowest client is a window behind, recording pauses, so the process
blocks on its full pipe: back-pressure, not truncation. What was given up before a client came is told to it
(`Cursor.dropped`). All of this runs on the event loop; only `splice` and `pread` touch the bytes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Protocol

from ..kernel import splice
from .record_budget import RecordBudget

_log = logging.getLogger(__name__)


class Changed:
    """Wakes everybody who waits for news of a session."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    def notify(self) -> None:
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_result(None)

    def next(self) -> asyncio.Future[None]:
        """Done at the next `notify`. Take it before looking at the state, then nothing is missed; await it shielded."""
        if self._future is None or self._future.done():
            self._future = asyncio.get_running_loop().create_future()
        return self._future


class Record(Protocol):
    """What a cursor reads from: an `Output`, or what is left of one (`ended`)."""

    @property
    def ended(self) -> bool: ...
    @property
    def size(self) -> int: ...
    def read(self, offset: int, limit_bytes: int) -> bytes: ...
    def read_into(self, offset: int, rooms: Sequence[memoryview]) -> int: ...
    def moved(self) -> None: ...
    def forget(self, cursor: Cursor) -> None: ...


class Cursor:
    """A client's place in an output. `dropped`: bytes that were gone before it came."""

    def __init__(self, output: Record, offset: int) -> None:
        self._output = output
        self.offset = offset
        self.dropped = offset

    def skip_to(self, offset: int) -> None:
        """The client has all before that byte, of those that there ever were."""
        self.dropped = max(0, self.offset - offset)
        self.offset = max(self.offset, min(offset, self._output.size))

    @property
    def at_end(self) -> bool:
        """Everything was read, and nothing more will come."""
        return self._output.ended and self.offset >= self._output.size

    @property
    def behind_bytes(self) -> int:
        """How much is there to be read."""
        return self._output.size - self.offset

    def read(self, limit_bytes: int) -> bytes:
        """The next bytes that are there, or b""."""
        data = self._output.read(self.offset, limit_bytes)
        self.offset += len(data)
        self._output.moved()
        return data

    def read_into(self, rooms: Sequence[memoryview]) -> int:
        """Fill rooms of one size, none by halves, with the next bytes that are there; how many were filled."""
        room_bytes = len(rooms[0])
        there = min(len(rooms), self.behind_bytes // room_bytes)
        count = self._output.read_into(self.offset, rooms[:there]) // room_bytes if there else 0
        self.offset += count * room_bytes
        self._output.moved()
        return count

    def close(self) -> None:
        """The client has gone: nothing is kept, or held up, for it any more."""
        self._output.forget(self)


class Output:
    """Records one stream. Borrows the recorder's descriptors: the session owns them."""

    def __init__(self, recorder: splice.Recorder, changed: Changed, budget: RecordBudget) -> None:
        self._recorder = recorder
        self._changed = changed
        self._budget = budget
        self._cursors: set[Cursor] = set()
        self._size = recorder.size
        self._start = _first_kept(recorder.memfd, self._size)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = False
        self._ended = False
        self.progress = 0
        budget.join(self)

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self._ended

    @property
    def size(self) -> int:
        """Bytes that the process has written and we have."""
        return self._size

    @property
    def paused(self) -> bool:
        """A client is too far behind: recording waits for it."""
        return not self._ended and not self._watched

    @property
    def first_kept(self) -> int:
        """The offset of the oldest byte that is kept."""
        return self._start

    @property
    def kept_bytes(self) -> int:
        return self._size - self._start

    @property
    def spare_bytes(self) -> int:
        return self._slowest() - self._start

    @property
    def share_bytes(self) -> int:
        return self.spare_bytes

    def give_up(self, wanted_bytes: int) -> None:
        start = min(self._slowest(), self._start + wanted_bytes)
        self._recorder.trim(self._size - start)
        self._budget.changed(self._start - start)
        self._start = start

    def start(self) -> None:
        """Record what is there and what comes, on the running loop."""
        if not self._ended:
            self._pump()
        self.moved()

    def attach(self) -> Cursor:
        """A cursor at the oldest byte that is kept."""
        cursor = Cursor(self, self._start)
        if not self._cursors:
            self._budget.attached(+1)
        self._cursors.add(cursor)
        return cursor

    def forget(self, cursor: Cursor) -> None:
        if cursor in self._cursors:
            self._cursors.discard(cursor)
            if not self._cursors:
                self._budget.attached(-1)
        self.moved()

    def read(self, offset: int, limit_bytes: int) -> bytes:
        return os.pread(self._recorder.memfd, min(limit_bytes, self._size - offset), offset)

    def read_into(self, offset: int, rooms: Sequence[memoryview]) -> int:
        return os.preadv(self._recorder.memfd, rooms, offset)

    def moved(self) -> None:
        """A cursor has moved, or more has come: pause or go on, and give memory back."""
        self._budget.settle()
        self._watch(not self._ended and self._size - self._slowest() < self._budget.window_bytes)

    def drain(self) -> None:
        """Record what the pipe holds now, whether or not clients keep up."""
        while not self._ended and self._pump():
            pass

    def finish(self) -> None:
        """Nothing more is recorded, whoever else may hold the other end."""
        if not self._ended:
            self._ended = True
            self._watch(False)
            self._changed.notify()

    def close(self) -> None:
        """Nothing is kept any more; the caller closes the descriptors."""
        self.finish()
        self._budget.leave(self)

    def _slowest(self) -> int:
        return min((cursor.offset for cursor in self._cursors), default=self._size)

    def take(self) -> int:
        """Record what is there, but no more than may be kept: for clients that are behind, and at once for nobody."""
        behind = self._size - self._slowest()
        room = self._budget.window_bytes - behind if self._cursors else self._budget.limit_bytes // 4
        taken = self._pump(max(1, room))
        self.moved()
        return taken

    def _pump(self, most_bytes: int = splice.PUMP_BYTES) -> int:
        """Record once; how many bytes that were."""
        try:
            moved = self._recorder.pump(min(most_bytes, splice.PUMP_BYTES))
        except OSError as error:
            # The machine is out of memory: what is recorded stays readable, the process sees a closed pipe.
            _log.error("record output: %s", error)
            self.finish()
            return 0
        self._size += moved
        self.progress += moved
        self._budget.changed(moved)
        if self._recorder.ended:
            self._watch(False)
            self._ended = True
        if moved or self._ended:
            self._changed.notify()
        return moved

    def _watch(self, wanted: bool) -> None:
        if wanted is self._watched:
            return
        self._watched = wanted
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if wanted:
            self._loop.add_reader(self._recorder.fileno(), self.take)
        else:
            self._loop.remove_reader(self._recorder.fileno())


def _first_kept(memfd: int, size_bytes: int) -> int:
    """Where the former agent's trimming ended: the first byte that is not a hole."""
    if size_bytes == 0:
        return 0
    try:
        return os.lseek(memfd, 0, os.SEEK_DATA)
    except OSError:
        # ENXIO: there is nothing but a hole.
        return size_bytes
