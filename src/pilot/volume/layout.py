"""Sizes, names and number formats that all parts of a volume share.

What is on disk, below `<state>/volumes`:

    names/<volume>  -> ../disks/<disk>     a symbolic link: a volume exists when its link does
    disks/<disk>/                          <disk> is 16 random hexadecimal digits, never used twice
        slab         slot n is the 64 KiB at n * 64 KiB; slot 0 is a header; a free slot is a hole
        journal      changes of the map that meta.db does not have yet
        meta.db      SQLite: the map's pages, roots, checkpoints, remote places of slots
        lock         flock: whoever has the disk open for writing
        readers      whoever reads the slab (`sharing`)
        worker.sock  of the process that serves the attached disk
    reserve            room kept for the maps of all disks (`room`): nobody's bytes, given up when the disk is full
    incoming/<disk>/   a disk that an import is filling (flock on its `lock`), until it becomes one of `disks`

A *place* names a slot of a slab, or a page of a meta.db: `depth << 48 | number`, number >= 1; 0 is a hole. `depth` is
how many forks lie between the first disk of the lineage and the one that owns the slot. A lineage is a path, so a fork
shares its source's pages as they are, and they mean the same on every host.
"""

from __future__ import annotations

import re

from .. import errors
from ..ids import CheckpointId, VolumeId

FORMAT = 1  # of meta.db; the other formats name their versions themselves
OTHER_BUILD = "use the build of pilot that wrote it, or a later one"
CHUNK_BYTES = 64 << 10
PAGE_ENTRIES = 1024
BLOCK_BYTES = 4096
DEFAULT_SIZE_BYTES = 100 << 30
MAX_SIZE_BYTES = 16 << 40
MAX_DEPTH = 1 << 16
HOLE = 0
INCOMING = "incoming"

_DEPTH_SHIFT = 48
_NUMBER_MASK = (1 << _DEPTH_SHIFT) - 1
_DISK_ID = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def place(depth: int, number: int) -> int:
    """The place of slot or page `number` of the disk at `depth` of the lineage."""
    return depth << _DEPTH_SHIFT | number


def depth_of(at: int) -> int:
    """Which disk of the lineage owns the place."""
    return at >> _DEPTH_SHIFT


def number_of(at: int) -> int:
    """The slot or page within that disk."""
    return at & _NUMBER_MASK


def chunk_count(size_bytes: int) -> int:
    """Chunks of a disk of that size."""
    return -(-size_bytes // CHUNK_BYTES)


def page_count(size_bytes: int) -> int:
    """Map pages of a disk of that size."""
    return -(-chunk_count(size_bytes) // PAGE_ENTRIES)


def check_size(size_bytes: int) -> int:
    """The size again; `PilotError` when no disk can have it."""
    if not 1 << 20 <= size_bytes <= MAX_SIZE_BYTES or size_bytes % BLOCK_BYTES:
        raise errors.PilotError(f"size of {size_bytes} bytes: not a disk's", hint="1 MiB to 16 TiB, a multiple of 4096")
    return size_bytes


def is_disk_id(text: str) -> bool:
    """Whether this could name a disk's directory."""
    return _DISK_ID.fullmatch(text) is not None


def parse_volume_id(text: str) -> VolumeId:
    """Text of a request → volume id; `PilotError` when it could not be a file name."""
    if not _NAME.fullmatch(text):
        raise errors.PilotError(f"invalid volume id {text!r}", hint="use letters, digits and any of _ . -")
    return VolumeId(text)


def parse_checkpoint_id(text: str) -> CheckpointId:
    """Text of a request → checkpoint id; `PilotError` when it could not be a file name."""
    if not _NAME.fullmatch(text):
        raise errors.PilotError(f"invalid checkpoint id {text!r}", hint="use letters, digits and any of _ . -")
    return CheckpointId(text)
