"""One output stream of a session: recorded without loss, read by any number of clients at their own pace.

    process ─► pipe or pty ─splice─► memfd ◄─pread─ Cursor, Cursor, ...

What is kept: everything that a connected client has not read yet, and at least the newest KEEP_BYTES. When the slowest
client is WINDOW_BYTES behind, recording pauses, so the process blocks on its full pipe: back-pressure, not truncation.
All of this runs on the event loop; only `splice` and `pread` touch the bytes.
"""

from __future__ import annotations

import asyncio
import logging
import os

from ..kernel import splice

KEEP_BYTES = 64 << 20
WINDOW_BYTES = 8 << 20
_TRIM_STEP_BYTES = 4 << 20
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


class Cursor:
    """A client's place in an output."""

    def __init__(self, output: Output, offset: int) -> None:
        self._output = output
        self.offset = offset

    @property
    def at_end(self) -> bool:
        """Everything was read, and nothing more will come."""
        return self._output.ended and self.offset >= self._output.size

    def read(self, limit_bytes: int) -> bytes:
        """The next bytes that are there, or b""."""
        data = self._output.read(self.offset, limit_bytes)
        self.offset += len(data)
        self._output.moved()
        return data

    def close(self) -> None:
        """The client has gone: nothing is kept, or held up, for it any more."""
        self._output.forget(self)


class Output:
    """Records one stream. Borrows the recorder's descriptors: the session owns them."""

    def __init__(self, recorder: splice.Recorder, changed: Changed) -> None:
        self._recorder = recorder
        self._changed = changed
        self._cursors: set[Cursor] = set()
        self._size = recorder.size
        self._start = _first_kept(recorder.memfd, self._size)
        self._watched = False
        self.ended = False
        self.progress = 0

    @property
    def size(self) -> int:
        """Bytes that the process has written and we have."""
        return self._size

    @property
    def paused(self) -> bool:
        """A client is too far behind: recording waits for it."""
        return not self.ended and not self._watched

    def start(self) -> None:
        """Record what is there and what comes, on the running loop."""
        self._pump()
        self.moved()

    def attach(self) -> Cursor:
        """A cursor at the oldest byte that is kept."""
        cursor = Cursor(self, self._start)
        self._cursors.add(cursor)
        return cursor

    def forget(self, cursor: Cursor) -> None:
        self._cursors.discard(cursor)
        self.moved()

    def read(self, offset: int, limit_bytes: int) -> bytes:
        return os.pread(self._recorder.memfd, min(limit_bytes, self._size - offset), offset)

    def moved(self) -> None:
        """A cursor has moved: pause or go on, and give memory back."""
        self._trim()
        self._watch(not self.ended and self._size - self._slowest() < WINDOW_BYTES)

    def drain(self) -> None:
        """Record what the pipe holds now, whether or not clients keep up."""
        while not self.ended and self._pump():
            pass

    def finish(self) -> None:
        """Nothing more is recorded, whoever else may hold the other end."""
        if not self.ended:
            self.ended = True
            self._watch(False)
            self._changed.notify()

    def _slowest(self) -> int:
        return min((cursor.offset for cursor in self._cursors), default=self._size)

    def _on_readable(self) -> None:
        self._pump()
        self.moved()

    def _pump(self) -> int:
        """Record once; how many bytes that were."""
        try:
            moved = self._recorder.pump()
        except OSError as error:
            # The machine is out of memory: what is recorded stays readable, the process sees a closed pipe.
            _log.error("record output: %s", error)
            self.finish()
            return 0
        self._size += moved
        self.progress += moved
        self.ended = self._recorder.ended
        if moved or self.ended:
            self._changed.notify()
        return moved

    def _watch(self, wanted: bool) -> None:
        if wanted is self._watched:
            return
        self._watched = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            loop.add_reader(self._recorder.fileno(), self._on_readable)
        else:
            loop.remove_reader(self._recorder.fileno())

    def _trim(self) -> None:
        start = min(self._slowest(), max(0, self._size - KEEP_BYTES))
        if start - self._start >= _TRIM_STEP_BYTES:
            self._recorder.trim(self._size - start)
            self._start = start


def _first_kept(memfd: int, size_bytes: int) -> int:
    """Where the former agent's trimming ended: the first byte that is not a hole."""
    if size_bytes == 0:
        return 0
    try:
        return os.lseek(memfd, 0, os.SEEK_DATA)
    except OSError:
        # ENXIO: there is nothing but a hole.
        return size_bytes
