"""Makes a sample of what volumes write now (`python -m tests.formats.volumes FILE.tar.gz`), or unpacks and reads one.

Run it when a format has a new version (`test_volume_formats` says so), and keep the file: later builds must read it.

    <name>.tar.gz   disks/<BASE>/   a disk with a checkpoint, whose last flush is in its journal alone
                    disks/<FORK>/   a fork of the checkpoint, with writes of its own
                    delta           the log of changes of a worker of BASE that was killed: one write more
                    store/          an object store that has both: HEAD, segments, a snapshot
                    archive         an export of BASE
                    expected.json   chunk → letter, of each, and the versions that were written
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pilot.ids import CheckpointId
from pilot.volume import layout
from pilot.volume.books import delta
from pilot.volume.disk import disk as disks
from pilot.volume.facts import Durability, Facts, Tie
from pilot.volume.operator import archive, exporting
from pilot.volume.remote.live import link
from pilot.volume.remote.log import head, hold
from pilot.volume.remote.log.encryption import Keyring
from pilot.volume.remote.objects import opening

BASE, FORK = "00000000000000aa", "00000000000000bb"
CHUNK, SIZE = layout.CHUNK_BYTES, 64 << 20
SAVED = CheckpointId("v1")
_SLOTS = 32
Content = Mapping[int, str]

# What was written, in this order: at the checkpoint, then in BASE, then in BASE and flushed into the journal alone,
# then in BASE and noted in the log of changes alone; and what is in FORK.
AT_CHECKPOINT: Content = {0: "a", 1: "b", 5: "c"}
FLUSHED: Content = {1: "d", 7: "e"}
JOURNALED: Content = {9: "f"}
NOTED: Content = {11: "g"}
IN_FORK: Content = {5: "h", 20: "i"}


def main() -> None:
    """Make one."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        _make(top)
        with tarfile.open(sys.argv[1], "w:gz") as out:
            for path in sorted(top.rglob("*")):
                if path.is_file() and path.name not in ("lock", "readers"):
                    out.add(path, str(path.relative_to(top)), filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _make(top: Path) -> None:
    objects = opening.open_store(f"file://{top}/store")
    base, fork = top / "disks" / BASE, top / "disks" / FORK
    for one, lineage in ((BASE, ()), (FORK, (BASE,))):
        born = head.Head(disk=one, volume=f"of-{one}", size_bytes=SIZE, lineage=lineage, forked=one == BASE)
        hold.first_head(objects, born)
    tie = Tie("file:///sample/store", "sample", None, Durability.LOCAL)
    _create(base, Facts(size_bytes=SIZE).tied(tie), None)
    delta_fd = delta.create()
    root = _fill_base(base, objects.url, delta_fd)
    _create(fork, Facts(size_bytes=SIZE).for_fork([BASE]).tied(tie), root)
    with contextlib.closing(disks.Disk(str(fork), [str(base)])) as disk:
        _write(disk, IN_FORK)
        _send(disk, [str(base)], objects.url)
    source = exporting._Stored(objects, BASE, Keyring())
    exported = io.BytesIO()
    archive.write(source, exporting._header("sample", source.size_bytes), exported.write)
    for directory in (base, fork):
        os.truncate(directory / "slab", _SLOTS * CHUNK)  # it has grown ahead: what is a hole takes room here
    (top / "archive").write_bytes(exported.getvalue())
    (top / "delta").write_bytes(os.pread(delta_fd, os.fstat(delta_fd).st_size, 0))
    (top / "expected.json").write_text(json.dumps({
        "checkpoint": AT_CHECKPOINT, "stored": {**AT_CHECKPOINT, **FLUSHED},
        "journaled": {**AT_CHECKPOINT, **FLUSHED, **JOURNALED},
        "noted": {**AT_CHECKPOINT, **FLUSHED, **JOURNALED, **NOTED}, "fork": {**AT_CHECKPOINT, **IN_FORK},
    }))  # fmt: skip


def _create(directory: Path, known: Facts, root: bytes | None) -> None:
    directory.mkdir(parents=True)
    disks.create(str(directory), known, root)


def _fill_base(directory: Path, url: str, delta_fd: int) -> bytes:
    """As a worker, up to its being killed; the root of the fork."""
    disk = disks.Disk(str(directory), [], delta_fd)
    _write(disk, AT_CHECKPOINT)
    disk.roots.cut(SAVED).publish(created_at=1.5, comment="of the sample", frozen_ms=0.5, clean=True)
    root = disk.roots.fork(FORK, SAVED)
    _send(disk, [], url)
    _write(disk, FLUSHED)
    disk.flush()  # makes the journal
    _send(disk, [], url)
    disk.commit()
    _write(disk, JOURNALED)
    disk.flush()
    _write(disk, NOTED)
    disk.opened.close()
    return root


def _write(disk: disks.Disk, content: Content) -> None:
    for chunk, letter in content.items():
        disk.write(chunk * CHUNK, memoryview(letter.encode() * CHUNK))


def _send(disk: disks.Disk, lineage: list[str], url: str) -> None:
    """Everything into the store, with a snapshot."""
    kept = disk.facts()
    disk.change_facts(lambda known: known.replace_local(store=url))
    tied = link.Link(disk, lineage)
    tied.start(hydrate=False)
    assert tied.close(60), tied.error
    disk.debt.cap_bytes = None
    disk.change_facts(lambda known: known.replace_local(store=kept.local.store))


# ---- reading one


@dataclasses.dataclass(frozen=True)
class Sample:
    """One that is unpacked below `top`; chunk → letter of what is expected in it."""

    top: Path
    expected: Mapping[str, dict[int, str]]


def unpack(path: Path, into: Path) -> Sample:
    """Unpack a sample."""
    with tarfile.open(path) as archived:
        for entry in archived:
            place, content = into / entry.name, archived.extractfile(entry)
            assert content is not None
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.write_bytes(content.read())
    found = json.loads((into / "expected.json").read_text())
    return Sample(into, {name: {int(chunk): one for chunk, one in content.items()} for name, content in found.items()})


def content_of(read: Callable[[int, memoryview], None]) -> dict[int, str]:
    """Chunk → letter, of a disk's or a checkpoint's `read`."""
    found = {}
    buffer = memoryview(bytearray(CHUNK))
    for chunk in range(SIZE // CHUNK):
        read(chunk * CHUNK, buffer)
        if letters := set(bytes(buffer)) - {0}:
            assert len(letters) == 1, f"chunk {chunk} is a mixture"
            found[chunk] = chr(letters.pop())
    return found


if __name__ == "__main__":
    main()
