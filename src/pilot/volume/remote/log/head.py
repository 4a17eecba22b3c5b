"""HEAD.json: who writes a volume now, and where recovery begins. Values only; `store` swaps them.

    {"format": 1, "disk": …, "volume": …, "lineage": [ancestors' disks], "size_bytes": …, "chunk_bytes": 65536,
     "epoch": 7, "holder": …, "history": [[5, 1], [7, 92]], "snapshot": {"epoch": 5, "seq": 64, "hash": …, "bytes": …},
     "seq": 91, "written_at": …, "checkpoints": [{"id", "generation", "created_at", "comment"}], "sealed": …, "key": …,
     "forked": false, "gone": false,
     "sum": "0a1b2c3d"}

The fence: whoever attaches a volume swaps in `epoch` + 1 first, then looks where the old log ends, then appends
[epoch, first seq] to `history` and writes. `history` says which epoch the segment of each seq is of: a segment that an
old holder still manages to store under its own epoch is not part of the log. A holder may say that a segment is
durable only when HEAD, read after the segment was stored, still has its epoch: then whoever comes later sees it.

`forked` is false while the disk certainly never had a fork; whoever makes one, on whatever host, swaps in true before
the fork's HEAD exists. `gone` is swapped in before a disk is erased: for whoever would use it, it has no HEAD any more.

`checkpoints` and `written_at` are for people and tools; recovery does not need them. It does not need `seq` either, but
a log that ends before it is damaged. `sum`, the last line, is the CRC-32 of the file without it, against damage and not
against people: who edits the file takes that line out.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import msgspec

from .... import errors
from ... import layout, names
from ...names import Stamp
from .codec import Damaged

FORMAT = 1
_HASH = re.compile(r"[0-9a-f]{32}|")
_END = b"\n}"
_SUM = re.compile(rb',\n "sum": "([0-9a-f]{8})"\n}$')


class SnapshotRef(msgspec.Struct, frozen=True):
    """A snapshot object: its stamp, hash (hexadecimal) and size."""

    epoch: int
    seq: int
    hash: str
    bytes: int

    @property
    def stamp(self) -> Stamp:
        """Its stamp."""
        return Stamp(self.epoch, self.seq)


class SavePoint(msgspec.Struct, frozen=True):
    """A checkpoint, as people know it."""

    id: str
    generation: int
    created_at: float
    comment: str | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    disk: str
    volume: str
    size_bytes: int
    lineage: tuple[str, ...] = ()
    epoch: int = 0
    holder: str = ""
    history: tuple[tuple[int, int], ...] = ()
    snapshot: SnapshotRef | None = None
    seq: int = 0
    written_at: float = 0.0
    checkpoints: tuple[SavePoint, ...] = ()
    sealed: bool = False
    key: str | None = None
    forked: bool = True  # a HEAD that does not say cannot exclude it
    gone: bool = False
    chunk_bytes: int = layout.CHUNK_BYTES
    format: int = FORMAT

    def stamp_of(self, seq: int) -> Stamp | None:
        """The stamp that the segment `seq` of the log has, or would have; None before the first epoch."""
        epochs = [epoch for epoch, first in self.history if first <= seq]
        return Stamp(epochs[-1], seq) if epochs else None

    @property
    def replay_from(self) -> int:
        """The seq of the first segment that the snapshot does not contain."""
        return self.snapshot.seq + 1 if self.snapshot else 1


def encode(head: Head) -> bytes:
    """HEAD.json's bytes."""
    text = msgspec.json.format(msgspec.json.encode(head), indent=1)
    return text.removesuffix(_END) + b',\n "sum": "%08x"' % zlib.crc32(text) + _END


def _check_sum(data: bytes, what: str) -> None:
    found = _SUM.search(data)  # a HEAD of an earlier version has none
    if found is not None and zlib.crc32(data[: found.start()] + _END) != int(found[1], 16):
        raise Damaged(f"{what}: does not fit its checksum")


def decode(data: bytes, what: str) -> Head:
    """From HEAD.json's bytes; Damaged, or HostError for a format that this program does not know."""
    _check_sum(data, what)
    try:
        head = msgspec.json.decode(data, type=Head)
    except errors.UNREADABLE as error:
        raise Damaged(f"{what}: {error}") from error
    if head.format != FORMAT or head.chunk_bytes != layout.CHUNK_BYTES:
        raise errors.HostError(f"{what}: format {head.format} with chunks of {head.chunk_bytes} bytes: unknown here")
    if list(head.history) != sorted(head.history) or not all(map(names.is_disk, (head.disk, *head.lineage))):
        raise Damaged(f"{what}: history {head.history} of {head.disk}")
    if head.snapshot is not None and not _HASH.fullmatch(head.snapshot.hash):
        raise Damaged(f"{what}: snapshot's hash {head.snapshot.hash!r}")
    return head


def claim(head: Head, holder: str, now: float) -> Head:
    """The next epoch, for `holder`: its first step, before it looks where the log ends."""
    if head.epoch >= names.MAX_EPOCH:
        raise errors.HostError(f"claim {head.disk}: its epochs are used up")
    return msgspec.structs.replace(head, epoch=head.epoch + 1, holder=holder, written_at=now)


def begin(head: Head, first_seq: int, now: float) -> Head:
    """The holder begins to write at `first_seq`: epochs that wrote nothing before it are forgotten, and so are those
    that the snapshot has made unnecessary."""
    kept = [(epoch, first) for epoch, first in head.history if first < first_seq and epoch < head.epoch]
    return msgspec.structs.replace(head, history=(*kept, (head.epoch, first_seq)), seq=first_seq - 1, written_at=now)


def with_snapshot(head: Head, ref: SnapshotRef, now: float) -> Head:
    """Recovery begins at `ref`."""
    needed = [n for n, (_, first) in enumerate(head.history) if first <= ref.seq + 1]
    history = head.history[needed[-1] :] if needed else head.history
    return msgspec.structs.replace(head, snapshot=ref, history=history, seq=max(ref.seq, head.seq), written_at=now)


def with_state(
    head: Head, *, seq: int, size_bytes: int, checkpoints: Sequence[SavePoint], sealed: bool, now: float
) -> Head:
    """What people and tools read in it."""
    return msgspec.structs.replace(
        head, seq=seq, size_bytes=size_bytes, checkpoints=tuple(checkpoints), sealed=sealed, written_at=now
    )


def with_seq(head: Head, seq: int, now: float) -> Head:
    """How far the log goes, for people and tools."""
    return msgspec.structs.replace(head, seq=seq, written_at=now)
