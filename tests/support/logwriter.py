"""A holder that makes the log of a volume as the formats say, with reused slots; and what a host finds that has nothing
but the store."""

from __future__ import annotations

import json

import msgspec

from pilot.volume import layout, names
from pilot.volume.names import Stamp
from pilot.volume.remote.log import codec, encryption, head, segment, snapshot
from pilot.volume.remote.tending import catalogue
from tests.support.objects import MemoryStore

KEYS = encryption.Keyring()
Content = dict[str, dict[int, int]]


def chunk_of(value: int) -> bytes:
    """A chunk that only this value has."""
    return value.to_bytes(8, "little") * (layout.CHUNK_BYTES // 8)


def _page(entries: dict[int, int]) -> bytes:
    return b"".join(entries.get(n, 0).to_bytes(8, "little") for n in range(layout.PAGE_ENTRIES))


class Writer:
    """A holder of one disk: changes its state, and stores a batch of it when told."""

    def __init__(
        self,
        objects: MemoryStore,
        disk: str,
        name: str,
        lineage: tuple[str, ...] = (),
        keyring: encryption.Keyring = KEYS,
    ) -> None:
        self.objects, self.disk, self.name, self.lineage = objects, disk, name, lineage
        self.depth = len(lineage)
        self.roots: dict[str, dict[int, int]] = {"head": {}}
        self.values: dict[int, int] = {}
        self.dirty: set[int] = set()
        self.places: dict[int, names.Place] = {}
        self.pages: dict[int, bytes] = {}
        self.next_page = 1
        self.version = ""
        self.head = head.Head(disk=disk, volume=name, size_bytes=1 << 30, lineage=lineage, key=keyring.new_key(disk))
        self.keyring = keyring
        self.packer = keyring.codec(self.head)
        self.seq = 1

    def birth(self) -> None:
        """HEAD, then the name; then it may write."""
        self.head = head.begin(head.claim(self.head, self.name, 0.0), 1, 0.0)
        self.version = self.objects.create(names.head(self.disk), head.encode(self.head))

    def give_name(self) -> None:
        self.objects.create(names.volume(self.name), json.dumps({"disk": self.disk}).encode())

    def write(self, chunk: int, value: int) -> None:
        slot = self._free_slot()
        self.values[slot] = value
        self.dirty.add(slot)
        self.roots["head"][chunk] = layout.place(self.depth, slot)

    def _free_slot(self) -> int:
        used = self.used()
        return next(n for n in range(1, 1000) if n not in used)

    def used(self) -> set[int]:
        """Slots that a root names; of ancestors, too."""
        return {layout.number_of(at) for root in self.roots.values() for at in root.values()}

    def batch(self, *, snap: bool) -> None:
        """Store the present state; what was stored when it returns is durable."""
        roots, pages = {}, {}
        for name, entries in self.roots.items():
            number, self.next_page = self.next_page, self.next_page + 1
            pages[number] = _page(entries)
            roots[name] = layout.place(self.depth, number).to_bytes(8, "little")
        delta = segment.Delta(pages, dict(roots), {"generation": "1"}, full=True)
        made = list(segment.build(Stamp(self.head.epoch, self.seq), 1, sorted(self.dirty),
                                  lambda slot: chunk_of(self.values[slot]), delta, self.packer))  # fmt: skip
        for one in made:
            self.objects.create(names.segment(self.disk, one.stamp), one.data)
            self.places.update(one.places)
        self.pages = pages
        self.seq = made[-1].stamp.seq + 1
        self.dirty.clear()
        if snap:
            self._snapshot(made[-1].stamp, roots)

    def _snapshot(self, stamp: Stamp, roots: dict[str, bytes]) -> None:
        used = self.used()
        kept = [(slot, at) for slot, at in self.places.items() if slot in used]
        image = snapshot.Image(self.pages, roots, {"generation": "1"}, snapshot.table(kept))
        data = snapshot.encode(stamp, image, self.packer)
        self.objects.put(names.snapshot(self.disk, stamp), data)
        ref = head.SnapshotRef(stamp.epoch, stamp.seq, codec.digest(data).hex(), len(data))
        self.head = head.with_snapshot(self.head, ref, 0.0)
        self.version = self.objects.swap(names.head(self.disk), head.encode(self.head), self.version)

    def close(self) -> None:
        """Say in HEAD how far the log goes, as a clean detach does."""
        self.head = msgspec.structs.replace(self.head, seq=self.seq - 1)
        self.version = self.objects.swap(names.head(self.disk), head.encode(self.head), self.version)

    def take(self) -> None:
        """Claim the disk (again) and begin where the store's log ends."""
        found = self.objects.get(names.head(self.disk))
        claimed = head.claim(head.decode(found.data, self.disk), self.name, 0.0)
        version = self.objects.swap(names.head(self.disk), head.encode(claimed), found.version)
        remote = catalogue.load(self.objects, claimed, self.keyring)
        self.head = head.begin(claimed, remote.end.seq + 1, 0.0)
        self.version = self.objects.swap(names.head(self.disk), head.encode(self.head), version)
        self.seq, self.places = remote.end.seq + 1, dict(remote.books.places)
        self.next_page = max(remote.books.pages, default=0) + 1
        # All is said again, as a holder does that knows more than the store.
        self.dirty = {layout.number_of(at) for root in self.roots.values() for at in root.values()
                      if layout.depth_of(at) == self.depth}  # fmt: skip

    def content(self, writers: dict[str, Writer]) -> Content:
        chain = [*self.lineage, self.disk]
        return {name: {chunk: writers[chain[layout.depth_of(at)]].values[layout.number_of(at)]
                       for chunk, at in root.items()} for name, root in self.roots.items()}  # fmt: skip


def stored_content(objects: MemoryStore, disk: str, keyring: encryption.Keyring = KEYS) -> Content:
    """What a host finds that has nothing but the store."""
    disks = {}
    described = catalogue.read_head(objects, disk)
    for name in (*described.lineage, disk):
        disks[name] = catalogue.load(objects, catalogue.read_head(objects, name), keyring)
    found: Content = {name: {} for name in disks[disk].books.roots}
    for chunk in catalogue.chunks(disks[disk], disks):
        data = catalogue.read_chunk(objects, disks[chunk.owner], chunk.slot)
        value = int.from_bytes(data[:8], "little")
        assert data == chunk_of(value)
        found[chunk.root][chunk.number] = value
    return found
