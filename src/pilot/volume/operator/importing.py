"""A file that `export` wrote becomes a volume of this host.

    incoming/<disk>/   flock ─ slab and meta.db filled ─ END has come and fits ─ synced ─ volumed takes it in (rename)

Until volumed has taken it in there is no volume; whatever goes wrong before removes the directory. After a kill -9 it
stays, unlocked, and the next import removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import IO

from msgspec import structs

from ... import errors
from ...ids import VolumeId
from .. import facts, layout
from ..books import ledger, map
from ..client import VolumeClient
from ..disk import disk as disks
from ..disk import meta, slab
from ..facts import Facts
from . import archive

_BATCH_PAGES = 256


def import_file(
    client: VolumeClient, state_dir: str, volume: VolumeId, file: IO[bytes], *, trusted: bool
) -> archive.End:
    """Make `volume` of the stream; not `trusted`: marked as a virtual machine's, never to be mounted by the host's
    kernel, which was not made to parse filesystems of strangers. What was a virtual machine's stays one's.

    Conflict when the name is taken, DamagedArchive; then nothing is left.
    """
    if any(row.volume == volume for row in client.list()):
        raise errors.Conflict(f"volume {volume}: exists already")
    incoming = os.path.join(state_dir, "volumes", layout.INCOMING)
    os.makedirs(incoming, mode=0o700, exist_ok=True)
    disk = secrets.token_hex(8)
    with _directory(incoming, disk) as directory:
        _, end = archive.read(_taker(file), _Filler(directory, vm=not trusted))
        client.take_in(volume, disk)
    return end


def _taker(file: IO[bytes]) -> Callable[[int], bytes]:
    def take(count: int) -> bytes:
        data = bytearray()
        while len(data) < count and (more := file.read(count - len(data))):
            data += more
        return bytes(data)

    return take


@contextlib.contextmanager
def _directory(incoming: str, disk: str) -> Iterator[str]:
    """An empty directory, locked; removed unless it has been renamed. Removes what killed imports have left."""
    path = os.path.join(incoming, disk)
    all_fd = _locked(incoming)
    try:
        _clear(incoming)
        os.mkdir(path, 0o700)
        fd = _locked(path)
    finally:
        os.close(all_fd)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):  # taken in
            shutil.rmtree(path)
        os.close(fd)


def _locked(directory: str, flags: int = 0) -> int:
    fd = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | flags)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _clear(incoming: str) -> None:
    """Remove the directories that nobody has locked. Under the lock of `incoming`."""
    for entry in filter(layout.is_disk_id, os.listdir(incoming)):
        path = os.path.join(incoming, entry)
        try:
            fd = _locked(path, fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):
            continue  # an import that is alive, or was taken in just now
        try:
            shutil.rmtree(path, ignore_errors=True)  # taken in just now
        finally:
            os.close(fd)


class _Filler:
    """An `archive.Sink`: a disk without ancestors."""

    def __init__(self, directory: str, *, vm: bool) -> None:
        self._directory = directory
        self._vm = vm
        self._pages: dict[int, bytes] = {}

    def begin(self, header: archive.Header) -> None:
        """Make the disk's files."""
        self._size_bytes = header.size_bytes
        disks.create(self._directory, Facts(size_bytes=header.size_bytes))
        self._slab = slab.Slab(self._directory)

    def chunk(self, slot: int, content: bytes) -> None:
        """See `archive.Sink`."""
        try:
            self._slab.write(slot, 0, memoryview(content))
        except OSError as error:
            raise errors.HostError(f"import: write slot {slot}: {error.strerror}") from error

    def page(self, number: int, entries: bytes) -> None:
        """See `archive.Sink`."""
        self._pages[number] = entries
        if len(self._pages) == _BATCH_PAGES:
            self._commit(ledger.Commit(self._pages, {}))
            self._pages = {}

    def end(self, end: archive.End) -> None:
        """All is stable when it returns."""
        self._slab.sync()
        self._slab.close()
        empty = map.empty_root(self._size_bytes)
        roots = {name: root + empty[len(root) :] if name == archive.HEAD else root for name, root in end.roots.items()}
        empty_facts = Facts(size_bytes=self._size_bytes)
        known = empty_facts.with_rows(archive.facts_of(end.facts, roots))
        known = structs.replace(known, vm=known.vm or self._vm)
        self._commit(ledger.Commit(self._pages, roots, facts=facts.changes(empty_facts, known)))

    def _commit(self, commit: ledger.Commit) -> None:
        with contextlib.closing(meta.Meta(self._directory)) as stored:
            stored.commit(commit)
