"""native/volume: answers requests of FUSE that need no decision. The table is a cache of what the ledger says."""

from collections.abc import Sequence

CHUNK_BYTES: int
PAGE_ENTRIES: int
MAX_LANES: int
MAX_IO_BYTES: int
WRITE_HEADER_BYTES: int

class Lookaside:
    """`fuse_fd` and the slabs' descriptors stay the caller's, and must stay open as long as anybody is in `receive`."""

    def __init__(self, fuse_fd: int, size_bytes: int) -> None: ...
    @property
    def answered(self) -> int:
        """Requests answered here."""

    def set_slab(self, depth: int, fd: int) -> None:
        """Slots of the disk at `depth` are read from (and written to) this file."""

    def set_size(self, size_bytes: int) -> None:
        """The disk has grown."""

    def learn(self, first: int, places: Sequence[int], writable: bool) -> None:
        """The chunks from `first` on are at these places, stable enough to be read; `writable`: and may be written in
        place. A chunk known as writable stays so while its place stays."""

    def forget(self, first: int, count: int) -> int:
        """Requests for these chunks are Python's from now on; how many could be written. Those under way go on:
        `settle`."""

    def settle(self) -> None:
        """Wait until nobody uses what the table said before this call."""

    def protect(self) -> None:
        """Nothing is written in place from now on; returns when no such write is under way."""

    def clear(self) -> None:
        """Forget everything, and settle."""

    def set_clean(self, slab_fd: int) -> None:
        """A flush has nothing to do but to sync this file; -1: a flush is the caller's."""

    def take_written(self) -> bool:
        """Whether anything was written since the last call that no sync here has made stable."""

    def receive(self, request: bytearray | memoryview, lane: int) -> int:
        """Answer requests until one comes that is the caller's: its length; it lies in `request`, whose byte
        WRITE_HEADER_BYTES begins a page. One thread for each `lane`. OSError: ENODEV when the connection has ended."""
