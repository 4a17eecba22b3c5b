"""Where a process's input comes from and its output goes to: FIFOs of containerd's, without a thread for each."""

from __future__ import annotations

import array
import asyncio
import errno
import fcntl
import os
import stat
import termios
from collections.abc import AsyncIterator, Callable

from ..wire import faults

READ_BYTES = 32 << 10
# How long a reader may do nothing, when an end is to be told.
PATIENCE_S = 2.0
_LOOK_S = 0.001


class Sink:
    """One stream of output. Nothing is written where there is no path."""

    def __init__(self, path: str) -> None:
        self._fd = _open_output(path) if path else -1
        self._is_fifo = self._fd >= 0 and stat.S_ISFIFO(os.fstat(self._fd).st_mode)
        self._hurried = False

    async def write(self, data: bytes) -> AsyncIterator[int]:
        """All of it, told as it goes. Waits for the reader, for ever, or PATIENCE_S at a time once it is hurried."""
        while data and self._fd >= 0:
            try:
                count = os.write(self._fd, data)
            except BlockingIOError:
                if not await self._writable():
                    self.close()
                continue
            data = data[count:]
            yield count
        if data:
            yield len(data)  # to nobody

    def hurry(self) -> None:
        """From now on what nobody reads is given up."""
        self._hurried = True

    async def read_up(self) -> None:
        """The reader has it all, or does nothing any more: who hears of an end may close what is unread (ctr does)."""
        loop = asyncio.get_running_loop()
        left, end_s = self._unread(), loop.time() + PATIENCE_S
        while left and loop.time() < end_s:
            await asyncio.sleep(_LOOK_S)
            before, left = left, self._unread()
            if left != before:
                end_s = loop.time() + PATIENCE_S

    def _unread(self) -> int:
        if self._fd < 0 or not self._is_fifo:
            return 0
        found = array.array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, found)
        return found[0]

    def close(self) -> None:
        """The reader sees the end; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _writable(self) -> bool:
        """Looks again each PATIENCE_S, for one that has been hurried meanwhile."""
        loop = asyncio.get_running_loop()
        while not await _ready(self._fd, loop.add_writer, loop.remove_writer, PATIENCE_S):
            if self._hurried:
                return False
        return True


class Source:
    """Input. It ends when nobody has the FIFO open for writing: containerd's client, and we until `end`."""

    def __init__(self, path: str) -> None:
        self._fd = self._kept_fd = -1
        if path:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                self._kept_fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                os.close(self._fd)
                raise

    @property
    def there(self) -> bool:
        return self._fd >= 0

    async def read(self) -> bytes:
        """Some bytes; b"" at the end."""
        loop = asyncio.get_running_loop()
        while self._fd >= 0:
            try:
                return os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                await _ready(self._fd, loop.add_reader, loop.remove_reader, None)
        return b""

    def end(self) -> None:
        """The client has said all."""
        if self._kept_fd >= 0:
            os.close(self._kept_fd)
            self._kept_fd = -1

    def close(self) -> None:
        """Nobody reads any more; idempotent, and never while one does."""
        self.end()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_output(path: str) -> int:
    """For reading too: a FIFO's reader may go and another come, as with a restart of containerd."""
    if "://" in path:
        kind, _, place = path.partition("://")
        if kind != "file":
            raise faults.InvalidRequest(f"output to {path}: FIFOs and file:// are possible")
        return os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a FIFO", path)
    return fd


async def _ready(fd: int, add: Callable[..., None], remove: Callable[[int], bool], timeout_s: float | None) -> bool:
    """Whether it became so in time."""
    ready = asyncio.Event()
    add(fd, ready.set)
    try:
        async with asyncio.timeout(timeout_s):
            await ready.wait()
    except TimeoutError:
        return False
    finally:
        remove(fd)
    return True
