"""Room on the filesystem that a host's volumes lie on: who may take it, and what a disk does when it gets none.

    │ used │ reserve (a file) │ free │        new chunks are refused once free + reserve file < the reserve's full size
            └ given up by who is about to store a map and finds little free: checkpoints, deletes and flushes go on
              on a full disk; volumed makes it again when there is room

    write ─ refused (ENOSPC) ─ commit: frees what newer writes superseded ─ again
                             ─ evict what the store has ─ again ─ wait for the store to have more ─ evict ─ again
                             ─ wait for others to give room ─ again
                             ─ nothing to be had, or no progress for a while ─ ENOSPC; then at once, until there is room

A filesystem above that meets ENOSPC where it has promised room (its journal, what it has not placed yet) is read-only
until it is mounted again, so one disk must not do that to another. Each has its *share*, an equal part of the
filesystem. Who takes more than its share is refused earlier, with the *guard* still free; who takes less may use the
guard, and waits longer before it is refused at all: others may go, or be deleted, meanwhile.

A filesystem that is being mounted replays its journal into chunks that a checkpoint may share. As long as that lasts
(`mounting`) half of the reserve is the disk's, so that what was stopped on a full disk can be started, and emptied.

A disk may have a *quota* of real bytes of its own. Who comes up to it is refused likewise, and waits for nobody. What
was stopped by it can be started and emptied, too: a filesystem that is mounted with next to nothing left may take the
*spare* beyond its quota as long as it is attached, and once more while it is being mounted; never more than that.

Writes in place are not refused: a journal that has its chunks goes on. They take new room only where a chunk is partly
a hole. Must never be asked under a lock of the disk that a commit or a batch for the store waits for.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

_log = logging.getLogger(__name__)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
RESERVE = "reserve"
_MOUNTING = "mounting"
_MOUNTED = "mounted"  # what it had taken when it was mounted last
_RESERVE_BYTES = 64 << 20
_RESERVE_SHARE = 16  # of a small filesystem
_SPARE_BYTES, _SPARE_SHARE = 32 << 20, 4  # at most, and of a small quota
_GIVE_UP_S = 30.0
# How long to wait for others to give room; less than the watchdog's patience with a disk.
_WAIT_S, _GREEDY_WAIT_S, _PAUSE_S = 20.0, 2.0, 0.1
_GUARD_BYTES, _GUARD_SHARE = 1 << 30, 8
# What a disk takes before it looks again: others do so at the same time.
_SHARE, _AT_ONCE_BYTES = 16, 4 << 20


def is_full(error: BaseException) -> bool:
    """Whether it says that there is no room."""
    return isinstance(error, OSError) and error.errno in FULL


def reserve_bytes(directory: str) -> int:
    """What is kept for maps on the filesystem of `directory`."""
    status = os.statvfs(directory)
    return min(_RESERVE_BYTES, status.f_blocks * status.f_frsize // _RESERVE_SHARE)


def free_bytes(volumes: str) -> int:
    """What new chunks may take on the filesystem of a volumed's directory; not below 0."""
    return max(0, _available(volumes) + _held(os.path.join(volumes, RESERVE)) - reserve_bytes(volumes))


def give_way(directory: str) -> None:
    """Have room for a commit of this disk, if need be by giving up the reserve."""
    if _available(directory) >= reserve_bytes(directory) // 2:
        return
    with contextlib.suppress(FileNotFoundError):  # a disk of no volumed
        fd = os.open(os.path.join(_volumes(directory), RESERVE), os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size:
                os.ftruncate(fd, 0)
                os.fsync(fd)  # ext4 gives freed blocks out again once its journal has them
        finally:
            os.close(fd)


def keep_reserve(volumes: str) -> None:
    """Make the reserve of a volumed's directory, where there is room for it and as much again."""
    path, size = os.path.join(volumes, RESERVE), reserve_bytes(volumes)
    if _held(path) >= size or _available(volumes) < 2 * size:
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


@contextlib.contextmanager
def mounting(directory: str) -> Iterator[None]:
    """Half of the reserve is for the disk there, as long as the block lasts. Its worker sees it by a file; one that a
    volumed leaves behind, killed in the block, goes with the next mount."""
    path = os.path.join(directory, _MOUNTING)
    _note(os.path.join(directory, _MOUNTED), str(_held(os.path.join(directory, "slab"))))
    _note(path, "")
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _note(path: str, text: str) -> None:
    """A file for the worker, where there is room for one: what is kept for the map is not to be touched for it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        if error.errno not in FULL:
            raise


def is_greedy(directory: str) -> bool:
    """Whether the disk there takes more than its share; one that is alone does, however little it takes."""
    status, count = os.statvfs(directory), _count_disks(directory)
    return count < 2 or _held(os.path.join(directory, "slab")) > status.f_blocks * status.f_frsize // count


def guard_bytes(directory: str) -> int:
    """What is kept from the disk there for others: nothing, when it takes no more than its share or is alone."""
    if _count_disks(directory) < 2 or not is_greedy(directory):
        return 0
    status = os.statvfs(directory)
    return min(_GUARD_BYTES, status.f_blocks * status.f_frsize // _GUARD_SHARE)


def left_bytes(directory: str, quota_bytes: int | None) -> int:
    """What the disk there may still take, of what there is for all and of its own."""
    left = free_bytes(_volumes(directory)) - guard_bytes(directory)
    own = left if quota_bytes is None else quota_bytes - _held(os.path.join(directory, "slab"))
    return max(0, min(left, own))


def _count_disks(directory: str) -> int:
    # Also what is just being made, or removed: it takes room, and is about to give it.
    return len(os.listdir(os.path.dirname(directory)))


class Gauge:
    """What one disk may still take before it has to look again. Threads may race: it is an estimate on purpose."""

    def __init__(self, directory: str, quota: Callable[[], int | None] = lambda: None) -> None:
        self._directory = directory
        self._quota = quota
        self._left = 0
        self._told = False
        self.is_at_quota = False  # when it was refused last

    def claim(self, size: int) -> None:
        """`size` bytes will be written to where nothing was; OSError (ENOSPC) when they must not be."""
        self._left -= size
        if self._left >= 0 or not size:
            return
        left = free_bytes(_volumes(self._directory)) - guard_bytes(self._directory)
        own = self._own_bytes(size, left)
        self.is_at_quota = own < min(left, size)
        if min(left, own) < size:
            if (own >= size or self._quota() is None) and self._borrows(size):
                self._left = 0
                return
            raise OSError(errno.ENOSPC, "no room for new chunks", self._slab)
        self._told = False
        self._left = min(left // _SHARE, own // _SHARE, _AT_ONCE_BYTES)

    def _own_bytes(self, size: int, left: int) -> int:
        """Of what there is, what its quota leaves it."""
        if (quota := self._quota()) is None:
            return left
        own = quota - _held(self._slab)
        return own if own >= size else own + self._spare_bytes(quota)

    def _spare_bytes(self, quota: int) -> int:
        spare, taken = min(_SPARE_BYTES, quota // _SPARE_SHARE), _noted(os.path.join(self._directory, _MOUNTED))
        was_nearly_full = taken is not None and taken + spare > quota
        return spare * (was_nearly_full + os.path.exists(os.path.join(self._directory, _MOUNTING)))

    def _borrows(self, size: int) -> bool:
        """Of the reserve, for a mount."""
        if not os.path.exists(os.path.join(self._directory, _MOUNTING)):
            return False
        kept = _held(os.path.join(_volumes(self._directory), RESERVE))
        if _available(self._directory) + kept - size < reserve_bytes(self._directory) // 2:
            return False
        give_way(self._directory)
        return True

    def affords(self, size: int) -> bool:
        """As `claim`, for something that can be left undone: whether it is granted."""
        try:
            self.claim(size)
        except OSError as error:
            if error.errno not in FULL:
                raise
            return False
        return True

    @property
    def _slab(self) -> str:
        return os.path.join(self._directory, "slab")

    @property
    def is_told(self) -> bool:
        """Whether the disk was found full, and no room was granted since."""
        return self._told

    def tell(self) -> None:
        """Say in the log, once until there is room again, whose disk is full."""
        if not self._told:
            self._told = True
            name = volume_of(self._directory)
            if self.is_at_quota:
                _log.error("volume %s: its quota of %s bytes is taken: %s", name, self._quota(), self._slab)
                return
            _log.error(
                "volume %s: no room for new chunks: %s: %d bytes are free, %d of them are kept for the map",
                name, self._slab, _available(self._directory), reserve_bytes(self._directory),
            )  # fmt: skip


class Evictable(Protocol):
    """The disk, as who makes room sees it."""

    def settle(self) -> None:
        """Store the map, and free what it no longer names."""

    def evict_some(self, size: int) -> int:
        """Leave about `size` bytes to the store; how many chunks."""

    def await_store(self) -> bool:
        """Wait a moment for what is on its way to the store; False when nothing is."""

    def be_patient(self) -> None:
        """Somebody waits, and that is not being stuck."""


class Relief:
    """Makes room for a disk. One thread at a time does, and acts; the others wait, and find it made."""

    def __init__(self, disk: Evictable, directory: str, gauge: Gauge) -> None:
        self._disk = disk
        self._directory = directory
        self._gauge = gauge
        self._lock = threading.Lock()

    def repeat(self, act: Callable[[], None], refused: OSError) -> None:
        """`act` was refused: make room and act again, until it is done. Raises what is no lack of room at once, ENOSPC
        when no more room can be had."""
        if refused.errno not in FULL:
            raise refused
        with self._lock:
            self._disk.settle()
            began = time.monotonic()
            while (error := _attempt(act)) is not None:
                waited_s = time.monotonic() - began
                if not self._make_room(waited_s) and not self._wait_for_others(waited_s):
                    self._gauge.tell()
                    raise error

    def _make_room(self, waited_s: float) -> bool:
        """Whether there is more of our own making."""
        if self._disk.evict_some(reserve_bytes(self._directory)):
            return True
        return waited_s < _GIVE_UP_S and self._disk.await_store()

    def _wait_for_others(self, waited_s: float) -> bool:
        """Wait a moment, and whether it was worth it: not twice without having been granted room in between, because
        whoever writes much would wait as often."""
        if (
            self._gauge.is_told
            or self._gauge.is_at_quota
            or waited_s > (_GREEDY_WAIT_S if is_greedy(self._directory) else _WAIT_S)
        ):
            return False
        self._disk.be_patient()
        time.sleep(_PAUSE_S)
        return True


def _attempt(act: Callable[[], None]) -> OSError | None:
    """What it was refused with."""
    try:
        act()
    except OSError as error:
        if error.errno not in FULL:
            raise
        return error
    return None


def volume_of(directory: str) -> str:
    """The volume whose disk this is, for people; the disk's own name where it has none."""
    disk = os.path.basename(directory)
    names = os.path.join(_volumes(directory), "names")
    with contextlib.suppress(OSError):  # a disk of no volumed, or a name that is just going
        for name in os.listdir(names):
            if os.path.basename(os.readlink(os.path.join(names, name))) == disk:
                return name
    return disk


def _volumes(directory: str) -> str:
    return os.path.dirname(os.path.dirname(directory))


def _available(directory: str) -> int:
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def _held(path: str) -> int:
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


def _noted(path: str) -> int | None:
    """None where nothing was, or half of it."""
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
