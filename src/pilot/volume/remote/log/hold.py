"""One holder's hold of one volume in the store: claims an epoch, appends to the log, notices when it has lost.

    claim      HEAD swapped to epoch + 1                   whoever held it before can store nothing that counts
    begin      [epoch, first seq] appended to history      now segments may be stored
    store      segments of a batch stored, the last one with COMMIT
    look       each is there, and begins as it should      a store that says yes and has nothing is not believed
    confirm    HEAD read (or swapped): still our epoch     only now is the batch durable, and may be told to be

A store has to answer with what was written last, as S3 and its likes do; one that lies now and then costs time, and is
told. Whoever claims next looks for the end of the log after its swap, so it finds every batch that was confirmed. A
claimant that has the disk's books (same holder as in HEAD) knows where its log ends and claims and begins in one swap.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from .... import errors
from ... import names
from ...names import Stamp
from ..objects.store import Object, Store
from . import head as heads
from .codec import Damaged
from .head import Head
from .segment import Encoded

_TRIES = 8
_LOOK_BYTES = 64


class Fenced(errors.StateError):
    """Another holder has the volume: nothing that is written here counts any more."""


class Unkept(errors.HostError):
    """The store answers with a HEAD of before our claim: it has lost it, or tells old things. The volume is to be
    claimed anew; nobody else has it."""


class Stored(NamedTuple):
    """An object as it was sent: its key, its first bytes, and its size."""

    key: str
    start: bytes
    size: int

    @staticmethod
    def of(key: str, data: bytes) -> Stored:
        """What is to be found there."""
        return Stored(key, bytes(data[:_LOOK_BYTES]), len(data))


def first_head(objects: Store, head: Head) -> None:
    """Make HEAD of a new volume, and give it its name; Conflict when the name is taken in this store."""
    key = names.head(head.disk)
    first_head_of_ancestor(objects, head)
    name = names.volume(head.volume)
    try:
        objects.create(name, msgspec.json.encode({"disk": head.disk}))
    except errors.Conflict:
        if disk_of(objects, head.volume) != head.disk:
            objects.delete(key)
            raise errors.Conflict(f"volume {head.volume}: exists in {objects.url}", hint="adopt it") from None


def first_head_of_ancestor(objects: Store, head: Head) -> None:
    """Make HEAD of a disk that no volume is called after."""
    try:
        objects.create(names.head(head.disk), heads.encode(head))
    except errors.Conflict:
        # An earlier try of ours: disk ids are random.
        read_head(objects, head.disk)


def look(objects: Store, stored: Stored) -> None:
    """PeerError when the store does not have what it has confirmed: send it again."""
    try:
        start, size = objects.get_start(stored.key, len(stored.start))
    except errors.NotFound as error:
        raise errors.PeerError(f"{stored.key}: {objects.url} has confirmed it, and does not have it") from error
    if (start, size) != (stored.start, stored.size):
        raise errors.PeerError(f"{stored.key}: {objects.url} has confirmed {stored.size} bytes, and has {size} others")


def disk_of(objects: Store, volume: str) -> str:
    """The disk that is named so in this store; NotFound."""
    data = objects.get(names.volume(volume)).data
    try:
        found = msgspec.json.decode(data, type=dict[str, str]).get("disk", "")
    except errors.UNREADABLE as error:
        raise Damaged(f"volume {volume} in {objects.url}: {error}") from error
    if not names.is_disk(found):
        raise errors.PilotError(f"volume {volume} in {objects.url}: names disk {found!r}")
    return found


def read_head(objects: Store, disk: str) -> tuple[Head, str]:
    """HEAD and its version; NotFound (also when it is being erased), Damaged."""
    found: Object = objects.get(names.head(disk))
    head = heads.decode(found.data, names.head(disk))
    if head.gone:
        raise errors.NotFound(f"disk {disk}: is being erased from {objects.url}")
    return head, found.version


def mark_forked(objects: Store, disk: str) -> None:
    """From now on nobody erases the disk; before a fork of it is made, by whoever makes it. NotFound."""
    for _ in range(_TRIES):
        head, version = read_head(objects, disk)
        if head.forked:
            return
        try:
            objects.swap(names.head(disk), heads.encode(msgspec.structs.replace(head, forked=True)), version)
        except errors.Conflict:
            continue  # its holder wrote it, or an answer of ours was lost
        return
    raise errors.PeerError(f"mark {disk} as forked: HEAD changes all the time")


def erase(objects: Store, head: Head, version: str) -> None:
    """Delete a disk that was never forked, as its HEAD was read; Conflict when HEAD has changed since.

    HEAD goes first, so that nobody takes what is half gone, and garbage collection finds the rest after a crash.
    """
    objects.swap(names.head(head.disk), heads.encode(msgspec.structs.replace(head, gone=True)), version)
    objects.delete(names.head(head.disk))
    for entry in objects.list(f"vol/{head.disk}/"):
        objects.delete(entry.key)


class Hold:
    """See the module. For one thread. PeerErrors mean that nothing is known to have happened: call again."""

    def __init__(self, objects: Store, head: Head, version: str, next_seq: int) -> None:
        self.objects = objects
        self.head = head
        self.next_seq = next_seq
        self._version = version

    @staticmethod
    def resume(objects: Store, disk: str, holder: str, seq: int) -> Hold:
        """Claim and begin after `seq`, the last batch that this holder knows to be durable. Fenced when HEAD is
        somebody else's; NotFound when the volume was deleted; Unkept."""
        for _ in range(_TRIES):
            head, version = read_head(objects, disk)
            if head.holder not in ("", holder):
                raise Fenced(f"volume {head.volume}: {head.holder} holds it since epoch {head.epoch}")
            # A snapshot of ours may have gone further than we were told: what it covers would not be replayed.
            now, first = time.time(), max(seq + 1, head.replay_from)
            wanted = heads.begin(heads.claim(head, holder, now), first, now)
            try:
                held = Hold(objects, wanted, objects.swap(names.head(disk), heads.encode(wanted), version), first)
            except errors.Conflict:
                continue  # an answer of ours that was lost, or another holder: HEAD tells
            held.confirm()  # under an epoch that nobody has written down nothing may be stored
            return held
        raise errors.PeerError(f"claim {disk}: HEAD changes all the time")

    @staticmethod
    def take(objects: Store, disk: str, holder: str, found: tuple[Head, str] | None = None) -> Hold:
        """Claim it from whoever has it; `begin` it before anything is appended. `found`: HEAD, if it was just read."""
        for _ in range(_TRIES):
            (head, version), found = found or read_head(objects, disk), None
            wanted = head if head.holder == holder else heads.claim(head, holder, time.time())
            try:
                return Hold(objects, wanted, objects.swap(names.head(disk), heads.encode(wanted), version), -1)
            except errors.Conflict:
                continue
        raise errors.PeerError(f"claim {disk}: HEAD changes all the time")

    @property
    def stamp(self) -> Stamp:
        """Of the next segment."""
        return Stamp(self.head.epoch, self.next_seq)

    def begin(self, first_seq: int) -> None:
        """Write from `first_seq` on."""
        self.change(lambda head: heads.begin(head, first_seq, time.time()))
        self.next_seq = first_seq

    def store(self, made: Encoded) -> Stored:
        """Store one segment of a batch, which begins at `stamp`. It counts once `look` has seen it, and `confirm` or
        `change` has returned."""
        key = names.segment(self.head.disk, made.stamp)
        try:
            self.objects.create(key, made.data)
        except errors.Conflict:
            # An earlier try of this holder in this epoch, perhaps of an older cut, perhaps in part.
            self.objects.put(key, made.data)
        return Stored.of(key, made.data)

    def look(self, stored: Stored) -> None:
        """As `look` of this module. For any thread."""
        look(self.objects, stored)

    def confirm(self) -> None:
        """What was stored counts: HEAD is still ours. Fenced, Unkept."""
        head, _ = read_head(self.objects, self.head.disk)
        self._check(head)

    def check_holder(self) -> None:
        """Fenced when another holder has the volume; a later epoch of our own is no loss. Unkept. For any thread."""
        found, _ = read_head(self.objects, self.head.disk)
        if found.holder != self.head.holder:
            self._check(found)

    def change(self, edit: Callable[[Head], Head]) -> None:
        """Swap HEAD for what `edit` makes of it. Fenced, Unkept."""
        for _ in range(_TRIES):
            wanted = edit(self.head)
            try:
                self._version = self.objects.swap(names.head(self.head.disk), heads.encode(wanted), self._version)
            except errors.Conflict:
                found, self._version = read_head(self.objects, self.head.disk)
                self._check(found)
                self.head = found
                continue
            self.head = wanted
            return
        raise errors.PeerError(f"swap HEAD of {self.head.disk}: it changes all the time")

    def _check(self, found: Head) -> None:
        if found.epoch < self.head.epoch:
            raise Unkept(
                f"volume {found.volume}: HEAD of {found.disk} is of epoch {found.epoch}, and {self.objects.url} has "
                f"confirmed {self.head.epoch}"
            )
        if (found.epoch, found.holder) != (self.head.epoch, self.head.holder):
            raise Fenced(f"volume {found.volume}: {found.holder} holds it since epoch {found.epoch}")
