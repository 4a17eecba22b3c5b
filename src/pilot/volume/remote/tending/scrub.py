"""Reads every object of volumes, says what is damaged, and whom it hurts. Changes nothing.

    HEAD ─ its name ─ snapshot ─ log ─┬─ each segment: magic, crc, index, each chunk's hash, decryption, decompression
                                      ├─ places of the books ↔ indexes of the segments
                                      └─ roots ─► pages ─► slots ─► places: what is stored nowhere, or lies in damage

A `Finding` names the object and what is wrong with it; if chunks of volumes are lost by it, there is one more finding
for each of them, with the root (head, checkpoint/…) and the chunk's number. A volume without findings has been read to
the last byte. One loss cannot be seen from the store: that of the log's last segments, when HEAD was not written since
they were (it is at each checkpoint, snapshot and detach): that looks as if they had never been.
What a live holder does meanwhile (an object that goes, a log that grows) is no damage: a disk with findings whose HEAD
or objects have changed since is read again.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from .... import errors
from ... import layout, names
from ...names import Place, Stamp
from ..log import codec, segment
from ..log.codec import Damaged
from ..log.encryption import Keyring
from ..objects import store
from . import catalogue
from .catalogue import Remote

_TRIES = 3


class Kind(enum.StrEnum):
    """What a finding is about."""

    HEAD = "head"  # nothing of the disk can be read
    NAME = "name"  # the volume's name leads nowhere
    LOG = "log"  # what recovery reads: snapshot, heads of segments, gaps
    SEGMENT = "segment"  # bytes of a segment
    CHUNK = "chunk"  # a chunk of a volume is lost
    MAP = "map"  # a root cannot be followed
    STRAY = "stray"  # an object that is none of ours, or under another's name


class Finding(msgspec.Struct, frozen=True):
    """One piece of damage. `chunk` is the number in the volume (times 64 KiB: the offset)."""

    kind: Kind
    disk: str
    volume: str
    what: str
    key: str | None = None
    root: str | None = None
    chunk: int | None = None


class Report(msgspec.Struct, frozen=True):
    """What was read, and what was found."""

    findings: Sequence[Finding]
    disks: int
    objects: int
    bytes: int


def scrub(objects: store.Store, keyring: Keyring, volumes: Collection[str] | None = None) -> Report:
    """All of a store, or these volumes with their ancestors; NotFound for a volume that is not there, PeerError."""
    named = catalogue.read_names(objects)
    for volume in volumes or ():
        if volume not in named:
            raise errors.NotFound(f"scrub volume {volume}: not found in {objects.url}")
    wanted = _wanted(objects, named, volumes)
    reader = _Reader(objects, keyring, named)
    findings = list(_strangers(objects, volumes))
    for disk in wanted:
        findings += reader.disk(disk)
    for disk in wanted:
        findings += reader.roots(disk)
    for volume in named if volumes is None else volumes:
        findings += reader.name(volume, named[volume])
    return Report(findings, len(wanted), reader.objects_read, reader.bytes_read)


def _wanted(objects: store.Store, named: Mapping[str, str], volumes: Collection[str] | None) -> Sequence[str]:
    """Disks to read, ancestors included."""
    if volumes is None:
        return catalogue.list_disks(objects)
    found = dict[str, None]()
    for volume in volumes:
        found[named[volume]] = None
        try:
            found.update(dict.fromkeys(catalogue.read_head(objects, named[volume]).lineage))
        except (Damaged, errors.NotFound, errors.HostError):
            continue  # the disk itself will be a finding
    return sorted(found)


def _strangers(objects: store.Store, volumes: Collection[str] | None) -> Iterator[Finding]:
    if volumes is None:
        for entry in objects.list("vol/"):
            if not names.is_disk(entry.key.split("/")[1]):
                yield Finding(Kind.STRAY, "", "", "an object that is none of a disk's", entry.key)


class _Reader:
    """Reads disks one after the other; keeps the books of each, and where it is damaged."""

    def __init__(self, objects: store.Store, keyring: Keyring, named: Mapping[str, str]) -> None:
        self._objects = objects
        self._keyring = keyring
        self._named = {disk: volume for volume, disk in named.items()}
        self._disks: dict[str, Remote] = {}
        self._bad: dict[str, dict[int, str]] = {}  # disk → slot → what is wrong
        self._commits: set[Stamp] = set()  # of the disk that is being read
        self.objects_read = 0
        self.bytes_read = 0

    def disk(self, disk: str) -> Sequence[Finding]:
        """Everything below vol/<disk>/; again when it has changed meanwhile and something was found."""
        findings: Sequence[Finding] = []
        for _ in range(_TRIES):
            before = self._version(disk)
            findings = list(self._disk(disk))
            if not findings or self._version(disk) == before:
                break
        return findings

    def _version(self, disk: str) -> tuple[str | None, Sequence[str]]:
        listed = [entry.key for entry in self._objects.list(f"vol/{disk}/")]
        try:
            return self._objects.get(names.head(disk)).version, listed
        except errors.NotFound:
            return None, listed

    def _disk(self, disk: str) -> Iterator[Finding]:
        volume = self._named.get(disk, "")
        self._disks.pop(disk, None)
        self._bad[disk] = {}
        listed = sorted(entry.key for entry in self._objects.list(f"vol/{disk}/"))
        yield from self._head(disk, volume)
        indexes: dict[Stamp, Mapping[int, Place]] = {}
        self._commits = set()
        for key in listed:
            self.objects_read += 1
            yield from self._object(disk, volume, key, indexes)
        if disk in self._disks:
            yield from self._stamps(disk, volume, listed)
            yield from self._places(disk, volume, indexes)

    def _stamps(self, disk: str, volume: str, listed: Sequence[str]) -> Iterator[Finding]:
        """What no log of this HEAD can have beside it: epochs to come, and whole batches behind a gap."""
        remote = self._disks[disk]
        stamps = {stamp: key for key in listed if (stamp := names.parse(key)) is not None}
        for stamp, key in stamps.items():
            if stamp.epoch > remote.head.epoch:
                yield Finding(Kind.HEAD, disk, volume, f"it is of epoch {remote.head.epoch}; there is {key}",
                              names.head(disk))  # fmt: skip
        seqs = {stamp.seq for stamp, key in stamps.items()
                if "/seg/" in key and remote.head.stamp_of(stamp.seq) == stamp}  # fmt: skip
        ends = [stamp.seq for stamp in self._commits if remote.head.stamp_of(stamp.seq) == stamp]
        for seq in range(remote.end.seq + 1, max(ends, default=0)):
            if seq not in seqs:
                key = names.segment(disk, remote.head.stamp_of(seq) or Stamp(0, seq))
                yield Finding(Kind.LOG, disk, volume, "it is gone, and there are others after it", key)

    def _head(self, disk: str, volume: str) -> Iterator[Finding]:
        key = names.head(disk)
        try:
            described = catalogue.read_head(self._objects, disk)
        except errors.NotFound:
            if volume:
                yield Finding(Kind.HEAD, disk, volume, "it is gone", key)
            return
        except (Damaged, errors.HostError) as error:
            yield Finding(Kind.HEAD, disk, volume, str(error), key)
            return
        try:
            remote = catalogue.load(self._objects, described, self._keyring)
        except (Damaged, errors.HostError) as error:
            yield Finding(Kind.LOG, disk, volume, str(error))
            return
        self._disks[disk] = remote
        if remote.end.seq < described.seq:
            yield Finding(
                Kind.LOG, disk, volume, f"its log ends at segment {remote.end.seq}, but had {described.seq} once"
            )
        lineage = remote.books.rows.get("lineage")
        if lineage is not None and json.loads(lineage) != list(described.lineage):
            yield Finding(Kind.HEAD, disk, volume, f"it has lineage {described.lineage}, its log {lineage}", key)

    def _object(self, disk: str, volume: str, key: str, indexes: dict[Stamp, Mapping[int, Place]]) -> Iterator[Finding]:
        stamp, folder = names.parse(key), key.split("/")[2]
        if key == names.head(disk):
            return
        if stamp is None or key not in (names.segment(disk, stamp), names.snapshot(disk, stamp)):
            yield Finding(Kind.STRAY, disk, volume, "an object that is none of a disk's", key)
        elif folder == "seg":
            indexes[stamp] = {}
            yield from self._segment(disk, volume, key, stamp, indexes)
        elif self._is_old_map(disk, stamp):
            self.bytes_read += len(self._get(key) or b"")  # HEAD has no hash of it: nothing will ever read it

    def _is_old_map(self, disk: str, stamp: Stamp) -> bool:
        remote = self._disks.get(disk)
        if remote is None or remote.head.snapshot is None or remote.head.snapshot.stamp != stamp:
            return True
        self.bytes_read += remote.head.snapshot.bytes  # `load` has read it
        return False

    def _get(self, key: str) -> bytes | None:
        try:
            return self._objects.get(key).data
        except errors.NotFound:
            return None  # deleted since it was listed; if it was needed, its slots are found to be nowhere

    def _segment(
        self, disk: str, volume: str, key: str, stamp: Stamp, indexes: dict[Stamp, Mapping[int, Place]]
    ) -> Iterator[Finding]:
        data = self._get(key)
        if data is None:
            return
        self.bytes_read += len(data)
        try:
            found = segment.decode_head(data, stamp, len(data))
            indexes[stamp] = found.places
            if found.is_commit:
                self._commits.add(stamp)
        except Damaged as error:
            if not self._is_torn_end(disk, stamp, error):
                yield Finding(Kind.SEGMENT, disk, volume, str(error), key)
            return
        packer = self._packer(disk)
        if packer is None or (found.flags & segment.Flag.ENCRYPTED and packer.cipher is None):
            bad = dict(_check_hashes(data, found))
        else:
            bad = dict(_check_content(data, found, packer))
        for slot, text in bad.items():
            if slot:
                self._note(disk, slot, found.places[slot], text)
            yield Finding(Kind.SEGMENT, disk, volume, text, key)

    def _is_torn_end(self, disk: str, stamp: Stamp, error: Damaged) -> bool:
        """A PUT that its writer did not survive, where the log ends: nobody was told that it is durable."""
        remote = self._disks.get(disk)
        return isinstance(error, segment.Truncated) and remote is not None and stamp.seq > max(
            remote.end.seq, remote.head.seq
        )  # fmt: skip

    def _packer(self, disk: str) -> codec.Codec | None:
        if disk in self._disks:
            return self._disks[disk].packer
        try:
            return self._keyring.codec(catalogue.read_head(self._objects, disk))
        except errors.PilotError:
            return None  # that is a finding already; hashes need no key

    def _note(self, disk: str, slot: int, at: Place, text: str) -> None:
        """Only where the books still have the slot there."""
        remote = self._disks.get(disk)
        if remote is not None and remote.books.places.get(slot) == at:
            self._bad[disk][slot] = text

    def _places(self, disk: str, volume: str, indexes: Mapping[Stamp, Mapping[int, Place]]) -> Iterator[Finding]:
        """The books and the segments must say the same. Slots that nobody reaches may be gone: `roots` decides."""
        for slot, at in self._disks[disk].books.places.items():
            key = names.segment(disk, at.stamp)
            if at.stamp not in indexes:
                self._bad[disk].setdefault(slot, f"{key} is gone")
            elif not indexes[at.stamp]:
                self._bad[disk].setdefault(slot, f"{key} cannot be read")
            elif indexes[at.stamp].get(slot) != at:
                text = (
                    f"the map has slot {slot} as chunk {at.number}, {at.length} bytes at {at.offset}; the segment not"
                )
                self._bad[disk].setdefault(slot, f"{key}: {text}")
                yield Finding(Kind.MAP, disk, volume, text, key)

    def roots(self, disk: str) -> Iterator[Finding]:
        """Chunks of the disk's roots that are lost, wherever in the lineage; after `disk` of its whole lineage."""
        remote, volume = self._disks.get(disk), self._named.get(disk, "")
        if remote is None:
            return
        try:
            for chunk in catalogue.chunks(remote, self._disks):
                owner = self._disks.get(chunk.owner)
                text = self._bad.get(chunk.owner, {}).get(chunk.slot)
                if owner is None:
                    text = f"disk {chunk.owner} cannot be read"
                elif chunk.slot not in owner.books.places:
                    text = f"slot {chunk.slot} of disk {chunk.owner} is stored nowhere"
                if text is not None:
                    yield Finding(Kind.CHUNK, disk, volume, text, None, chunk.root, chunk.number)
        except Damaged as error:
            yield Finding(Kind.MAP, disk, volume, str(error))

    def name(self, volume: str, disk: str) -> Iterator[Finding]:
        """Whether a volume's name leads to its disk; after `disk`."""
        key = names.volume(volume)
        if disk not in self._disks and not self._has(disk):
            yield Finding(Kind.NAME, disk, volume, f"it names disk {disk}, of which there is nothing", key)
        elif disk in self._disks and self._disks[disk].head.volume != volume:
            text = f"it names disk {disk}, which is of volume {self._disks[disk].head.volume}"
            yield Finding(Kind.NAME, disk, volume, text, key)

    def _has(self, disk: str) -> bool:
        return any(True for _ in self._objects.list(f"vol/{disk}/"))


def _check_hashes(data: bytes, found: segment.Head) -> Iterator[tuple[int, str]]:
    """(slot, what is wrong) without a key."""
    for slot, at in found.places.items():
        if codec.digest(memoryview(data)[at.offset : at.offset + at.length]) != at.hash:
            yield slot, f"segment {names.text(at.stamp)}: chunk {at.number}, {at.length} bytes at {at.offset}: damaged"


def _check_content(data: bytes, found: segment.Head, packer: codec.Codec) -> Iterator[tuple[int, str]]:
    """(slot, what is wrong), (0, …) for the map delta."""
    for slot, at in found.places.items():
        try:
            segment.decode_chunk(memoryview(data)[at.offset : at.offset + at.length], at, packer)
        except Damaged as error:
            yield slot, str(error)
    if found.is_commit:
        try:
            found.delta(packer)
        except Damaged as error:
            yield 0, str(error)


def offset_of(finding: Finding) -> int | None:
    """Where in the volume, in bytes."""
    return None if finding.chunk is None else finding.chunk * layout.CHUNK_BYTES
