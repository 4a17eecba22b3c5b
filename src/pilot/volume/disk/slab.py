"""The slab: the file whose 64 KiB slots hold a disk's chunks.

Read and written past the page cache (O_DIRECT), because a page-cache write by the process that serves a loop device can
wait, in reclaim, for that very loop device. O_DIRECT wants offsets, lengths and memory aligned; what is not (a 512-byte
request, a caller's odd buffer) goes through an aligned bounce buffer, block by block. Where the filesystem has no
O_DIRECT (tmpfs on older kernels) the file is buffered.

A free slot is a hole and reads as zeros. Nothing is stable before `sync`. Slot 0 holds a header naming the format. The
file always ends past its last used slot: a read beyond the end is damage (EIO), never zeros. It grows in steps, sparse,
so that most syncs have no new size to write.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import threading

from ... import errors
from ...kernel import directio
from .. import layout

_KIND = b"pilot slab "
_HEADER = _KIND + b"1\n"
_BLOCK = layout.BLOCK_BYTES
_STEP_BYTES = 64 << 20


def aligned(size: int, *, resident: bool = False) -> memoryview:
    """Zeroed memory that starts on a page, for direct I/O; `resident`: all of it is there before its first use."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (mmap.MAP_POPULATE if resident else 0)
    return memoryview(mmap.mmap(-1, max(size, 1), flags=flags))


def _address_aligned(view: memoryview) -> bool:
    # Only writable memory tells its address; bytes objects are never aligned anyway.
    return not view.readonly and directio.address_of(view) % 512 == 0


class Slab:
    """An open slab. Reads and writes may come from many threads; they must not overlap a write."""

    def __init__(self, directory: str, *, read_only: bool = False, create: bool = False) -> None:
        """`create`: a new one, which the caller syncs."""
        self.path = os.path.join(directory, "slab")
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | (os.O_CREAT | os.O_EXCL if create else 0) | os.O_CLOEXEC
        self.direct = True
        try:
            self._fd = os.open(self.path, flags | os.O_DIRECT, 0o600)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.direct = False
            self._fd = os.open(self.path, flags & ~os.O_EXCL, 0o600)
        self._growing = threading.Lock()
        if create:
            self._write_header()
        else:
            self._check_header()
        self._size = os.fstat(self._fd).st_size

    def _write_header(self) -> None:
        block = aligned(_BLOCK)
        block[: len(_HEADER)] = _HEADER
        os.pwrite(self._fd, block, 0)
        os.ftruncate(self._fd, layout.CHUNK_BYTES)

    def _check_header(self) -> None:
        """Refuse a slab of another format. Anything else in its place is damage to a note that nobody needs."""
        block = aligned(_BLOCK)
        os.preadv(self._fd, [block], 0)
        found = bytes(block[: len(_HEADER) + 8]).partition(b"\n")[0] + b"\n"
        if found.startswith(_KIND) and found != _HEADER:
            os.close(self._fd)
            raise errors.HostError(
                f"open disk: {self.path}: is a {found.decode(errors='replace').strip()!r}, this program knows "
                f"{_HEADER.decode().strip()!r}", hint=layout.OTHER_BUILD,
            )  # fmt: skip

    @property
    def fd(self) -> int:
        """The open file; it stays the slab's."""
        return self._fd

    def read(self, slot: int, offset: int, into: memoryview) -> None:
        """Fill `into` from byte `offset` of `slot` on (it may run on into the next slots)."""
        start = slot * layout.CHUNK_BYTES + offset
        if not self.direct or (start % _BLOCK == 0 and len(into) % _BLOCK == 0 and _address_aligned(into)):
            self._read(start, into)
            return
        low, high = start // _BLOCK * _BLOCK, -(-(start + len(into)) // _BLOCK) * _BLOCK
        bounce = aligned(high - low)
        self._read(low, bounce)
        into[:] = bounce[start - low : start - low + len(into)]

    def write(self, slot: int, offset: int, data: memoryview) -> None:
        """Write `data` at byte `offset` of `slot` (it may run on into the next slots)."""
        start = slot * layout.CHUNK_BYTES + offset
        if start + len(data) > self._size:
            self._grow(start + len(data))
        if not self.direct or (start % _BLOCK == 0 and len(data) % _BLOCK == 0 and _address_aligned(data)):
            self._write(start, data)
            return
        low, high = start // _BLOCK * _BLOCK, -(-(start + len(data)) // _BLOCK) * _BLOCK
        bounce = aligned(high - low)
        if low != start or high != start + len(data):
            self._read(low, bounce)
        bounce[start - low : start - low + len(data)] = data
        self._write(low, bounce)

    def holes(self, slot: int, count: int) -> list[tuple[int, int]]:
        """(first, count) of each run among these slots that holds nothing. What a filesystem cannot tell is none."""
        at, end = slot * layout.CHUNK_BYTES, (slot + count) * layout.CHUNK_BYTES
        found = []
        while at < end:
            data = min(self._seek(at, os.SEEK_DATA), end)
            first, last = -(-at // layout.CHUNK_BYTES), data // layout.CHUNK_BYTES
            if last > first:
                found.append((first, last - first))
            at = self._seek(data, os.SEEK_HOLE) if data < end else end
        return found

    def _seek(self, at: int, whence: int) -> int:
        try:
            return os.lseek(self._fd, at, whence)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return sys.maxsize  # no data from here to the end

    def punch(self, slot: int, count: int) -> None:
        """Make holes of these slots: they read as zeros and take no space."""
        directio.punch_hole(self._fd, slot * layout.CHUNK_BYTES, count * layout.CHUNK_BYTES)

    def reserve(self, count: int) -> None:
        """Reach at least to the end of `count` slots (holes, where nothing was written)."""
        if count * layout.CHUNK_BYTES > self._size:
            self._grow(count * layout.CHUNK_BYTES)

    def sync(self) -> None:
        """What was written is stable when this returns."""
        os.fdatasync(self._fd)

    def allocated_bytes(self) -> int:
        """Space that the slab takes on its filesystem."""
        return os.fstat(self._fd).st_blocks * 512

    def slots_written(self) -> int:
        """One past the highest slot that the file reaches."""
        return -(-os.fstat(self._fd).st_size // layout.CHUNK_BYTES)

    def close(self) -> None:
        """Close the file; not before every reader and writer is done."""
        os.close(self._fd)

    def _read(self, start: int, into: memoryview) -> None:
        done = 0
        while done < len(into):
            got = os.preadv(self._fd, [into[done:]], start + done)
            if got == 0:
                slot = (start + done) // layout.CHUNK_BYTES
                raise OSError(errno.EIO, f"slot {slot} lies beyond its end: it was truncated", self.path)
            done += got

    def _grow(self, end: int) -> None:
        with self._growing:
            if end > self._size:
                size = -(-end // _STEP_BYTES) * _STEP_BYTES
                os.ftruncate(self._fd, size)
                self._size = size

    def _write(self, start: int, data: memoryview) -> None:
        done = 0
        while done < len(data):
            done += os.pwrite(self._fd, data[done:], start + done)
