"""A volume of this host, or of an object store, as a file (`archive`).

From this host through volumed: the volume is forked for a moment, once as it is and once per checkpoint. The forks pin
what is read, so the volume may be attached and written to, and checkpoints may go meanwhile. They are called
`export-<random>-<n>`, and deleted when it is done; after a kill -9 they stay, and may be deleted by anybody.
From a store nothing is claimed and nothing is written: the volume as of the last durable batch; if its holder's
garbage is collected meanwhile, the export fails and may be tried again.
"""

from __future__ import annotations

import collections
import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import structs

from ... import errors
from ...ids import VolumeId
from ...kernel import files
from .. import layout, names
from ..checkpoint import Checkpoint
from ..client import VolumeClient
from ..disk import meta, sharing, slab
from ..facts import Facts, Rows
from ..names import Place, Stamp
from ..remote.log import recovery, segment
from ..remote.log.codec import Codec
from ..remote.log.encryption import Keyring
from ..remote.objects import opening, store
from ..remote.tending import catalogue
from . import archive

_CACHED_SEGMENTS = 4
Out = Callable[[bytes], object]


def export_local(
    client: VolumeClient, state_dir: str, volume: VolumeId, out: Out, keyring: Keyring | None = None
) -> archive.End:
    """A volume that this host's volumed has; `state_dir` is volumed's."""
    keyring = keyring or Keyring()
    described = client.stat(volume)
    with contextlib.ExitStack() as stack:
        checkpoints = client.checkpoints(volume)
        directory = os.path.join(state_dir, "volumes")
        pinned = _pin(client, volume, checkpoints, stack)
        source = _Local(os.path.join(directory, "disks"), stack, keyring)
        for name, fork in pinned.items():
            source.add(name, os.path.join(directory, "names", fork))
        source.known = structs.replace(
            source.known, sealed=described.sealed, checkpoints={point.id: point for point in checkpoints},
            generation=max((point.generation for point in checkpoints), default=0),
        )  # fmt: skip
        return archive.write(source, _header(volume, source.known.size_bytes), out)


def _pin(
    client: VolumeClient, volume: VolumeId, checkpoints: Sequence[Checkpoint], stack: contextlib.ExitStack
) -> Mapping[str, VolumeId]:
    """Root → the fork that holds it, until the stack is closed."""
    prefix = f"export-{secrets.token_hex(6)}-"
    wanted = [(archive.HEAD, None), *((archive.CHECKPOINT + point.id, point.id) for point in checkpoints)]
    pinned = {}
    for number, (root, checkpoint) in enumerate(wanted):
        fork = layout.parse_volume_id(f"{prefix}{number}")
        client.fork(volume, fork, checkpoint)
        stack.callback(client.delete, fork)
        pinned[root] = fork
    return pinned


class _Local:
    """An `archive.Source`: forks of one volume, read from their disks; what is cold, from their store."""

    def __init__(self, disks: str, stack: contextlib.ExitStack, keyring: Keyring) -> None:
        self.roots: dict[str, bytes] = {}
        self.known = Facts()
        self._disks = disks
        self._stack = stack
        self._keyring = keyring
        self._chain: list[_LocalDisk] = []

    def add(self, name: str, fork: str) -> None:
        """A root as a fork begins; all forks have the same lineage."""
        stored = self._stack.enter_context(contextlib.closing(meta.Meta(os.path.realpath(fork), read_only=True)))
        self.roots[name] = stored.root("head")
        if not self._chain:
            self.known = stored.facts()
            lineage = [os.path.join(self._disks, disk) for disk in self.known.lineage]
            self._chain = [_LocalDisk(path, self._stack, self._keyring) for path in lineage]

    @property
    def facts(self) -> Rows:
        """See `archive.Source`."""
        return archive.facts_of(self.known.rows(), self.roots)

    def page(self, at: int) -> bytes:
        """See `archive.Source`."""
        return self._owner(at).books.page(layout.number_of(at))

    def chunk(self, at: int) -> bytes:
        """See `archive.Source`."""
        return self._owner(at).read(layout.number_of(at))

    def _owner(self, at: int) -> _LocalDisk:
        if layout.depth_of(at) >= len(self._chain):
            raise errors.HostError(f"export: a place at depth {layout.depth_of(at)}: the map is damaged")
        return self._chain[layout.depth_of(at)]


class _LocalDisk:
    """One disk of the lineage, read beside its worker."""

    def __init__(self, directory: str, stack: contextlib.ExitStack, keyring: Keyring) -> None:
        self.disk = os.path.basename(directory)
        stack.enter_context(contextlib.closing(sharing.Readers(directory)))  # so nothing is evicted meanwhile
        self.books = stack.enter_context(contextlib.closing(meta.Meta(directory, read_only=True)))
        self._slab = stack.enter_context(contextlib.closing(slab.Slab(directory, read_only=True)))
        self._buffer = slab.aligned(layout.CHUNK_BYTES)
        self._cold = set(self.books.cold())
        self._keyring = keyring
        self._remote: tuple[store.Store, Codec] | None = None

    def read(self, slot: int) -> bytes:
        """The content of a pinned slot."""
        if slot in self._cold:
            return self._fetch(slot)
        try:
            self._slab.read(slot, 0, self._buffer)
        except OSError as error:
            raise errors.HostError(f"export: read slot {slot} of disk {self.disk}: {error.strerror}") from error
        return bytes(self._buffer)

    def _fetch(self, slot: int) -> bytes:
        at = self.books.place(slot)
        if at is None:
            raise errors.HostError(f"export: slot {slot} of disk {self.disk} is neither here nor in a store")
        if self._remote is None:
            if (url := self.books.facts().local.store) is None:
                raise errors.HostError(
                    f"export: slot {slot} of disk {self.disk} is not here, and the disk is in no store"
                )
            objects = opening.open_store(url)
            self._remote = objects, self._keyring.codec(catalogue.read_head(objects, self.disk))
        objects, packer = self._remote
        stored = objects.get_range(names.segment(self.disk, at.stamp), at.offset, at.length)
        return segment.decode_chunk(stored, at, packer)


def export_stored(objects: store.Store, volume: str, out: Out, keyring: Keyring) -> archive.End:
    """A volume of an object store. NotFound, Damaged."""
    disk = catalogue.disk_of(objects, volume)
    source = _Stored(objects, disk, keyring)
    return archive.write(source, _header(volume, source.size_bytes), out)


class _Stored:
    """An `archive.Source` over a store; keeps the last few segments."""

    def __init__(self, objects: store.Store, disk: str, keyring: Keyring) -> None:
        self._objects = objects
        described = catalogue.read_head(objects, disk)
        chain = [*(catalogue.read_head(objects, ancestor) for ancestor in described.lineage), described]
        self._disks = [catalogue.load(objects, one, keyring) for one in chain]
        self._segments: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        books = self._disks[-1].books
        if archive.HEAD not in books.roots:
            raise errors.StateError(f"export volume {described.volume}: nothing of it is durable yet")
        self.size_bytes = books.facts.size_bytes or described.size_bytes
        self.roots = {name: root for name, root in books.roots.items() if _travels(name, books)}
        self.facts = archive.facts_of(books.rows, self.roots)

    def page(self, at: int) -> bytes:
        """See `archive.Source`."""
        return catalogue.page_of(self._disks, at)

    def chunk(self, at: int) -> bytes:
        """See `archive.Source`."""
        owner = catalogue.owner_at(self._disks, at)
        place = catalogue.place_of(owner, layout.number_of(at))
        data = self._segment(owner.head.disk, place.stamp)
        return segment.decode_chunk(_slice(data, place), place, owner.packer)

    def _segment(self, disk: str, stamp: Stamp) -> bytes:
        key = names.segment(disk, stamp)
        if key not in self._segments:
            self._segments[key] = self._objects.get(key).data
            if len(self._segments) > _CACHED_SEGMENTS:
                self._segments.popitem(last=False)
        self._segments.move_to_end(key)
        return self._segments[key]


def _travels(name: str, books: recovery.Books) -> bool:
    return name == archive.HEAD or (name.startswith(archive.CHECKPOINT) and name in books.rows)


def _slice(data: bytes, at: Place) -> memoryview:
    return memoryview(data)[at.offset : at.offset + at.length]


def _header(volume: str, size_bytes: int) -> archive.Header:
    return archive.Header(volume=volume, size_bytes=size_bytes, created_at=time.time())


@contextlib.contextmanager
def new_file(path: str) -> Iterator[Out]:
    """As `files.whole`: a file that is there as a whole or not at all, a device, or `-`, standard output."""
    try:
        with files.whole(path) as out:
            yield out.write
    except OSError as error:
        raise errors.HostError(f"write {path}: {error.strerror}") from error
