"""Freezing the world's filesystem in a VM, whose kernel owns the superblock: nobody may write, for a bounded time.

FIFREEZE is undone by a timer in this process; if the process dies, by the next agent at its start (`thaw_left_over`).
In a container the host owns the superblock and freezes it (volumed); the call is refused there.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time

from .. import errors
from ..kernel import directio, freeze
from ..wire import faults

MAX_DEADLINE_MS = 10_000
_log = logging.getLogger(__name__)


class Freezer:
    """Of one mount point. `held_ms`: how long the last freeze that was ended by `thaw` held writers."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._timer: asyncio.TimerHandle | None = None
        self._began_s = 0.0
        self.frozen = False
        self.held_ms = 0.0

    async def freeze(self, deadline_ms: int) -> None:
        """Write out what is dirty, then freeze; thaws by itself after `deadline_ms`. `Conflict` when it is frozen."""
        if not 0 < deadline_ms <= MAX_DEADLINE_MS:
            raise faults.InvalidRequest(f"freeze {self._path}: the deadline must be 1 to {MAX_DEADLINE_MS} ms")
        if self.frozen:
            raise errors.Conflict(f"freeze {self._path}: it is frozen already")
        self.frozen = True
        try:
            await asyncio.to_thread(_sync_filesystem, self._path)
            # The timer runs before the freeze does: a freeze that is slow must end, too.
            self._timer = asyncio.get_running_loop().call_later(deadline_ms / 1000, self._on_deadline)
            self._began_s = time.monotonic()
            await asyncio.to_thread(_freeze, self._path)
            if not self.frozen:
                # The deadline passed before it held, so the timer had nothing to thaw.
                await asyncio.to_thread(_thaw, self._path)
                raise faults.DeadlineExceeded(f"freeze {self._path}: it took longer than {deadline_ms} ms")
        except BaseException:
            self.frozen = False
            self._cancel()
            raise

    async def thaw(self) -> bool:
        """Let writers go on; whether the freeze had held until now."""
        held, self.frozen = self.frozen, False
        self._cancel()
        if held:
            await asyncio.to_thread(_thaw, self._path)
            self.held_ms = (time.monotonic() - self._began_s) * 1000
        return held

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_deadline(self) -> None:
        _log.warning("thaw %s: the deadline has passed", self._path)
        self.frozen = False
        # In a thread: FITHAW waits for a freeze that is still waiting for writers.
        asyncio.get_running_loop().run_in_executor(None, _thaw, self._path)


def thaw_left_over(path: str) -> None:
    """At the start of an agent: what the former one had frozen goes on."""
    if os.path.isdir(path):
        _thaw(path)


def _sync_filesystem(path: str) -> None:
    """What is dirty is written before, not during the freeze."""
    fd = _open(path)
    try:
        directio.sync_filesystem(fd)
    finally:
        os.close(fd)


def _freeze(path: str) -> None:
    fd = _open(path)
    try:
        freeze.freeze(fd)
    except OSError as error:
        raise errors.HostError(f"freeze {path}: {error.strerror}") from error
    finally:
        os.close(fd)


def _thaw(path: str) -> None:
    fd = _open(path)
    try:
        freeze.thaw(fd)
    except OSError as error:
        # It cannot have been frozen.
        if error.errno not in {errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM}:
            raise
    finally:
        os.close(fd)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
