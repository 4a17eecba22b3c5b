"""What is in a store: the disks as their HEADs and logs have them, their names, and what their roots reach.

    root of a disk ──► page (owner's books) ──► slot (owner's books: place) ──► segment

A place names the owner by depth, and the lineage in HEAD names the disks by depth; so a fork's roots reach pages and
slots of its ancestors, and what is live in a disk is only known once all disks below it have been read. A disk that
cannot be read (`broken`) therefore makes all of its ancestors unknown. Reads only.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from .... import errors
from ... import layout, names
from ...books import map
from ...names import Place
from ..log import codec, recovery, segment
from ..log.codec import Damaged
from ..log.encryption import Keyring
from ..log.head import Head, decode
from ..objects import store


class Name(msgspec.Struct, frozen=True):
    """`name/<volume>.json`: which disk a volume is."""

    disk: str


class Remote(msgspec.Struct, frozen=True):
    """One disk as the store has it, up to the end of its log."""

    head: Head
    books: recovery.Books
    end: recovery.End
    packer: codec.Codec

    @property
    def chain(self) -> Sequence[str]:
        """The disks of its lineage by depth, itself the last."""
        return (*self.head.lineage, self.head.disk)


class Chunk(NamedTuple):
    """A chunk that a root reaches: slot `slot` of the disk `owner`."""

    root: str
    number: int
    owner: str
    slot: int


class Catalogue(msgspec.Struct, frozen=True):
    """A store's content. `broken`: disks that could not be read, and why."""

    disks: Mapping[str, Remote]
    broken: Mapping[str, errors.PilotError]
    lineages: Mapping[str, Sequence[str]]
    named: Mapping[str, str]

    def live(self) -> tuple[dict[str, set[int]], dict[str, errors.PilotError]]:
        """Slots of each disk that any root of any disk reaches; and the disks whose own roots could not be followed."""
        live: dict[str, set[int]] = collections.defaultdict(set)
        seen: set[tuple[str, int]] = set()
        lost: dict[str, errors.PilotError] = {}
        for disk, remote in self.disks.items():
            try:
                for owner, slots in _slots(remote, self.disks, seen):
                    live[owner] |= slots
            except Damaged as error:
                lost[disk] = error
        return live, lost


def read(objects: store.Store, keyring: Keyring) -> Catalogue:
    """All disks of a store, then all names. PeerError when the store does not answer."""
    disks, broken, lineages = dict[str, Remote](), dict[str, errors.PilotError](), dict[str, Sequence[str]]()
    for disk in list_disks(objects):
        try:
            described = read_head(objects, disk)
            lineages[disk] = described.lineage
            disks[disk] = load(objects, described, keyring)
        except errors.NotFound:
            continue  # objects without HEAD: what is left of a deleted disk
        except errors.PeerError:
            raise
        except errors.PilotError as error:
            broken[disk] = error
    return Catalogue(disks, broken, lineages, read_names(objects))


def list_disks(objects: store.Store) -> Sequence[str]:
    """Ids of the disks that a store has any object of."""
    found = {entry.key.split("/")[1] for entry in objects.list("vol/")}
    return sorted(disk for disk in found if names.is_disk(disk))


def read_names(objects: store.Store) -> dict[str, str]:
    """Volume → disk. Damaged when one cannot be read."""
    named = {}
    for entry in objects.list("name/"):
        try:
            described = msgspec.json.decode(objects.get(entry.key).data, type=Name)
        except errors.NotFound:
            continue  # deleted since it was listed
        except errors.UNREADABLE as error:
            raise Damaged(f"{entry.key}: {error}") from error
        named[entry.key.removeprefix("name/").removesuffix(".json")] = described.disk
    return named


def read_head(objects: store.Store, disk: str) -> Head:
    """HEAD of a disk; NotFound, Damaged."""
    key = names.head(disk)
    described = decode(objects.get(key).data, key)
    if described.disk != disk:
        raise Damaged(f"{key}: is of {described.disk}")
    return described


def load(objects: store.Store, described: Head, keyring: Keyring) -> Remote:
    """The disk with its books; Damaged, HostError."""
    packer, books = keyring.codec(described), recovery.Books()
    end = recovery.recover(objects, described, packer, books)
    return Remote(described, books, end, packer)


# ---- what roots reach


def chunks(remote: Remote, disks: Mapping[str, Remote]) -> Iterator[Chunk]:
    """Every chunk of every root of a disk that is no hole; Damaged where the map cannot be followed."""
    for name, root in remote.books.roots.items():
        for index, at in enumerate(map.decode(root)):
            if at:
                owner, page = _page(remote, at, disks)
                first = index * layout.PAGE_ENTRIES
                for n, (holder, slot) in _entries(disks[owner], page):
                    yield Chunk(name, first + n, holder, slot)


def _slots(remote: Remote, disks: Mapping[str, Remote], seen: set[tuple[str, int]]) -> Iterator[tuple[str, set[int]]]:
    """(owner, slots) of the pages that were not seen before. A page means the same in every lineage that reaches it."""
    for root in remote.books.roots.values():
        for at in map.decode(root):
            if not at:
                continue
            owner, page = _page(remote, at, disks)
            if (owner, layout.number_of(at)) in seen:
                continue
            found: dict[str, set[int]] = collections.defaultdict(set)
            for _, (holder, slot) in _entries(disks[owner], page):
                found[holder].add(slot)
            yield from found.items()
            seen.add((owner, layout.number_of(at)))


def _page(remote: Remote, at: int, disks: Mapping[str, Remote]) -> tuple[str, bytes]:
    owner = owner_of(remote, at)
    if owner not in disks:
        raise Damaged(f"disk {remote.head.disk}: its ancestor {owner} is not there, or cannot be read")
    page = disks[owner].books.pages.get(layout.number_of(at))
    if page is None or len(page) != 8 * layout.PAGE_ENTRIES:
        raise Damaged(f"disk {remote.head.disk}: map page {layout.number_of(at)} of {owner} is not there")
    return owner, page


def _entries(owner: Remote, page: bytes) -> Iterator[tuple[int, tuple[str, int]]]:
    for n, at in enumerate(map.decode(page)):
        if at:
            yield n, (owner_of(owner, at), layout.number_of(at))


def owner_at(chain: Sequence[Remote], at: int) -> Remote:
    """The disk of a whole lineage that owns a place; Damaged."""
    if layout.depth_of(at) >= len(chain):
        raise Damaged(f"disk {chain[-1].head.disk}: a place at depth {layout.depth_of(at)} of {len(chain)}")
    return chain[layout.depth_of(at)]


def page_of(chain: Sequence[Remote], at: int) -> bytes:
    """A map page of a lineage; Damaged."""
    return _page(chain[-1], at, {one.head.disk: one for one in chain})[1]


def disk_of(objects: store.Store, volume: str) -> str:
    """The disk that is named so in this store; NotFound, Damaged."""
    named = read_names(objects)
    if volume not in named:
        raise errors.NotFound(f"volume {volume}: not found in {objects.url}")
    return named[volume]


def owner_of(remote: Remote, at: int) -> str:
    """The disk of the lineage that owns a place; Damaged when it has none of that depth."""
    depth = layout.depth_of(at)
    if depth >= len(remote.chain):
        raise Damaged(f"disk {remote.head.disk}: a place at depth {depth} of a lineage of {len(remote.chain)}")
    return remote.chain[depth]


def read_chunk(objects: store.Store, owner: Remote, slot: int) -> bytes:
    """The content of a slot; Damaged, NotFound when the segment has gone (look at HEAD again)."""
    at = place_of(owner, slot)
    key = names.segment(owner.head.disk, at.stamp)
    return segment.decode_chunk(objects.get_range(key, at.offset, at.length), at, owner.packer)


def place_of(owner: Remote, slot: int) -> Place:
    """Where a slot is stored; Damaged when it is not."""
    at = owner.books.places.get(slot)
    if at is None:
        raise Damaged(f"disk {owner.head.disk}: slot {slot} is stored nowhere")
    return at
