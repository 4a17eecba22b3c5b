"""Input of a session: a bounded queue before a pipe or pty master that may be full.

`write` waits only when LIMIT_BYTES are queued, so that a client's other messages (a signal, a ping) are read while the
process does not read its input. All on the event loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

LIMIT_BYTES = 4 << 20


class Stdin:
    """Borrows `fd`; `on_closed` is called once, when it is not used any more."""

    def __init__(self, fd: int, on_closed: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._queue = bytearray()
        self._ending = False
        self._watched = False
        self._room = asyncio.Event()
        self._room.set()
        self._on_closed = on_closed
        self.closed = False

    async def write(self, data: bytes) -> None:
        """Queue `data` for the process; what comes after the end is dropped, as a closed pipe would."""
        if self._ending or self.closed:
            return
        self._queue += data
        self._flush()
        await self._room.wait()

    def end(self) -> None:
        """No more input: close when the queue is empty."""
        self._ending = True
        if not self.closed:
            self._flush()

    def close(self) -> None:
        """Drop what is queued; the descriptor is not touched any more."""
        if self.closed:
            return
        self.closed = True
        self._queue.clear()
        self._watch(False)
        self._room.set()
        self._on_closed()

    def _flush(self) -> None:
        try:
            while self._queue:
                del self._queue[: os.write(self._fd, self._queue[: 1 << 16])]
        except BlockingIOError:
            pass  # full: _watch tells when there is room
        except OSError:
            # EPIPE or EIO: the process does not want it.
            self.close()
            return
        if self._ending and not self._queue:
            self.close()
            return
        self._watch(bool(self._queue))
        if len(self._queue) < LIMIT_BYTES:
            self._room.set()
        else:
            self._room.clear()

    def _watch(self, wanted: bool) -> None:
        if wanted is self._watched:
            return
        self._watched = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            loop.add_writer(self._fd, self._flush)
        else:
            loop.remove_writer(self._fd)
