"""What of a store nobody needs any more, and when it may go.

    list everything ─► read every HEAD and log, then the names ─► decide ─► swap gc.json ─► delete

Needed of a disk, by its HEAD *as it was read after the listing*:

    HEAD.json                   while a name or the lineage of another disk names the disk
    map/<stamp>                 HEAD's snapshot, and whatever its holder may be about to make the next one
    seg/<stamp>                 the log after the snapshot, and whatever its holder may append to it; and each segment
                                that holds a slot that any root of the disk, or of any disk below it, reaches

A slot that no durable root reaches is never reached again: a writer names old slots only if its last durable state
did. So what is unneeded once stays unneeded, but for those who still work from an older HEAD: readers, and a fork made
on another host. For them an object that is found unneeded is *condemned* (gc.json, with the time), and deleted by a
later run, `grace_s` after, if it is unneeded still: they must be done, or look at HEAD again, within `grace_s`. Whoever
forks a volume it does not hold must, after its own HEAD is stored, see that the source still has the checkpoint.

Nothing of a disk that cannot be read is deleted, nor of its ancestors; if a HEAD or a name is damaged, nothing at all,
because nobody knows what it reaches. Clocks of hosts that collect must agree better than `grace_s`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from .... import errors
from ... import names
from ...names import Stamp
from ..log.encryption import Keyring
from ..log.head import Head
from ..objects import store
from . import catalogue
from .catalogue import Catalogue

RECORD = "gc.json"
DEFAULT_GRACE_S = 24 * 3600.0


class Record(msgspec.Struct, frozen=True):
    """gc.json: since when each key is condemned; when the last run was (seconds since 1970)."""

    condemned: dict[str, float] = {}
    format: int = 1
    at: float = 0.0


class Plan(msgspec.Struct, frozen=True):
    """What a run does. `kept`: what it leaves alone because a disk could not be read, and why; sizes in bytes."""

    delete: Sequence[str]
    condemned: Mapping[str, float]
    kept: Mapping[str, str]
    delete_bytes: int
    condemned_bytes: int

    def describe(self) -> str:
        """One line for each object that goes."""
        return "\n".join(f"delete {key}" for key in self.delete)


def collect(
    objects: store.Store, keyring: Keyring, clock: Callable[[], float], grace_s: float, *, dry_run: bool = False
) -> Plan:
    """Condemn and delete; may be repeated after any error, and be killed anywhere.

    Conflict when another run is under way, Damaged when a name is damaged, PeerError when the store does not answer.
    """
    listing = list(objects.list("vol/"))
    record, version = _read_record(objects)
    known = catalogue.read(objects, keyring)
    now = clock()  # after the HEADs were read: who read an older one did it before this
    plan = decide(listing, known, record, now, grace_s)
    if not dry_run:
        # First the record: a second run that decides at the same time fails here, before it deletes.
        _write_record(objects, Record(dict(plan.condemned), at=now), version)
        for key in plan.delete:
            objects.delete(key)
    return plan


def last_run(objects: store.Store) -> float:
    """When anybody collected last (seconds since 1970); 0 when nobody did."""
    return _read_record(objects)[0].at


def decide(listing: Sequence[store.Entry], known: Catalogue, record: Record, now: float, grace_s: float) -> Plan:
    """Pure: `listing` is older than `known`."""
    live, lost = known.live()
    failed = {**known.broken, **lost}
    protected = _protected(known, failed)
    needed = _Needed(known, live)
    unneeded = [entry for entry in listing if protected is not None and _may_go(entry.key, protected, needed)]
    # A later time than now is of a clock that was wrong.
    condemned = {entry.key: min(record.condemned.get(entry.key, now), now) for entry in unneeded}
    ripe = [entry for entry in unneeded if condemned[entry.key] <= now - grace_s and entry.modified <= now - grace_s]
    # HEADs first: a disk is deleted when its HEAD is, and never there in part.
    delete = sorted((entry.key for entry in ripe), key=lambda key: (not key.endswith("/HEAD.json"), key))
    kept = {disk: str(error) for disk, error in failed.items()}
    return Plan(delete, condemned, kept, sum(e.size for e in ripe), sum(e.size for e in unneeded))


def _protected(known: Catalogue, failed: Mapping[str, errors.PilotError]) -> set[str] | None:
    """The disks of which nothing goes; None when that is all of them."""
    if any(disk not in known.lineages for disk in failed):
        return None
    return {disk for bad in failed for disk in (bad, *known.lineages[bad])}


def _may_go(key: str, protected: set[str], needed: _Needed) -> bool:
    parts = key.split("/")
    if len(parts) < 3 or not names.is_disk(parts[1]) or parts[1] in protected:
        return False
    return not needed.is_needed(parts[1], "/".join(parts[2:]))


class _Needed:
    """The rules of the module, for the disks of a catalogue."""

    def __init__(self, known: Catalogue, live: Mapping[str, set[int]]) -> None:
        self._disks = known.disks
        self._wanted = set(known.named.values()).union(*known.lineages.values())
        self._holding: dict[str, set[Stamp]] = {}
        for disk, remote in known.disks.items():
            places = remote.books.places
            self._holding[disk] = {places[slot].stamp for slot in live.get(disk, ()) if slot in places}

    def is_needed(self, disk: str, name: str) -> bool:
        """Whether an object of a disk is; what is none of ours by its name counts as needed."""
        stamp = names.parse(name)
        ours = name == "HEAD.json" or (stamp is not None and name.split("/")[0] in ("seg", "map"))
        if not ours or (disk in self._wanted and disk not in self._disks):
            return True  # a stranger's; or HEAD is lost, which is for people to see to
        if disk not in self._wanted:
            return False
        described = self._disks[disk].head
        if stamp is None:
            return True
        if name.startswith("map/"):
            return is_map_needed(described, stamp)
        return is_log(described, stamp) or stamp in self._holding[disk]


def is_map_needed(head: Head, stamp: Stamp) -> bool:
    """Whether a snapshot is HEAD's, or may become it."""
    if head.snapshot is None or stamp == head.snapshot.stamp:
        return True
    return stamp.epoch >= head.epoch and stamp.seq >= head.snapshot.seq


def is_log(head: Head, stamp: Stamp) -> bool:
    """Whether a segment is of the log after the snapshot, or may become so."""
    if stamp.seq < head.replay_from:
        return False
    return stamp.epoch >= head.epoch or head.stamp_of(stamp.seq) == stamp


def _read_record(objects: store.Store) -> tuple[Record, str | None]:
    try:
        found = objects.get(RECORD)
        return msgspec.json.decode(found.data, type=Record), found.version
    except errors.NotFound:
        return Record(), None
    except errors.UNREADABLE as error:
        raise errors.HostError(
            f"read {RECORD}: {error}", hint="remove it: what it condemned is condemned anew"
        ) from error


def _write_record(objects: store.Store, record: Record, version: str | None) -> None:
    data = msgspec.json.encode(record)
    try:
        if version is None:
            objects.create(RECORD, data)
        else:
            objects.swap(RECORD, data, version)
    except (errors.Conflict, errors.NotFound) as error:
        raise errors.Conflict(f"collect garbage of {objects.url}: another run is under way") from error
