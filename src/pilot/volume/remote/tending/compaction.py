"""Segments of which little is still live are written again without the rest, so that `garbage` can take the old ones.

    plan      which segments, and which slots of them are live      (`sparse`; a live holder does it `inband`)
    compact   claim the disk (epoch + 1) ─ append the slots as a batch without map changes ─ snapshot ─ HEAD

It is an ordinary writer: whoever claims the disk meanwhile fences it, and what it stored under its epoch is then no
part of the log. Killed anywhere it leaves a log that recovers to the same content. It must never claim a disk that
somebody holds: HEAD has a `holder` from its first attach on, so `take_over` says that this holder is gone, or will
recover the disk's books anew before it writes again (it is fenced: its local places are no longer true). Slots of a
segment that is not written again keep their places; old segments are only deleted by `garbage`, after its grace period.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .... import errors
from ... import names
from ...names import Stamp
from ..log import codec, head, hold, recovery, segment, snapshot, sparse
from ..log.encryption import Keyring
from ..objects import store
from . import catalogue
from .catalogue import Remote

_NO_CHANGE = segment.Delta({}, {}, {})


def compact(
    objects: store.Store, disk: str, keyring: Keyring, holder: str, clock: Callable[[], float], *,
    take_over: bool = False, share: float = sparse.LIVE_SHARE,
) -> sparse.Rewrite:  # fmt: skip
    """Write again what is worth it. StateError when somebody holds the disk, Conflict when somebody claimed it
    meanwhile, Damaged (and nothing changed) when a chunk to move is damaged."""
    known = catalogue.read(objects, keyring)
    live, lost = known.live()
    _check_readable(disk, known, lost)
    sizes = {stamp: entry.size for entry in objects.list(f"vol/{disk}/seg/")
             if (stamp := names.parse(entry.key)) is not None}  # fmt: skip
    remote = known.disks[disk]
    todo = sparse.plan(remote.head, remote.books.places, live[disk], sizes, share)
    if todo.slots:
        _rewrite(objects, remote, todo, keyring, holder, clock, take_over=take_over)
    return todo


def _check_readable(disk: str, known: catalogue.Catalogue, lost: Mapping[str, errors.PilotError]) -> None:
    failed = {**known.broken, **lost}
    for bad, error in failed.items():
        if bad == disk or disk in known.lineages.get(bad, (disk,)):
            raise codec.Damaged(f"compact {disk}: what {bad} reaches is not known: {error}") from error
    if disk not in known.disks:
        raise errors.NotFound(f"compact {disk}: not found")


def _rewrite(
    objects: store.Store, remote: Remote, todo: sparse.Rewrite, keyring: Keyring, holder: str,
    clock: Callable[[], float], *, take_over: bool,
) -> None:  # fmt: skip
    disk = remote.head.disk
    claimed, version = _claim(objects, disk, holder, clock(), take_over=take_over)
    current = catalogue.load(objects, claimed, keyring)  # whoever wrote until now is fenced
    _check_chunks(objects, current, todo.slots)
    begun = head.begin(claimed, current.end.seq + 1, clock())
    version = objects.swap(names.head(disk), head.encode(begun), version)
    last = _append(objects, current, todo.slots, Stamp(begun.epoch, current.end.seq + 1))
    _finish(objects, begun, current, last, version, clock())


def _claim(objects: store.Store, disk: str, holder: str, now: float, *, take_over: bool) -> tuple[head.Head, str]:
    found = objects.get(names.head(disk))
    described = head.decode(found.data, names.head(disk))
    if described.holder and not take_over:
        raise errors.StateError(
            f"compact {disk}: {described.holder} holds it", hint="take it over only when that holder is gone"
        )
    claimed = head.claim(described, holder, now)
    return claimed, objects.swap(names.head(disk), head.encode(claimed), found.version)


def _check_chunks(objects: store.Store, remote: Remote, slots: Sequence[int]) -> None:
    """Before anything is appended: a batch cannot be taken back."""
    for slot in slots:
        catalogue.read_chunk(objects, remote, slot)


def _append(objects: store.Store, remote: Remote, slots: Sequence[int], first: Stamp) -> Stamp:
    """Store the batch; its places enter the books. The stamp of its last segment."""
    generation = remote.books.facts.generation
    old = dict(remote.books.places)

    def read(slot: int) -> bytes:
        at = old[slot]
        stored = objects.get_range(names.segment(remote.head.disk, at.stamp), at.offset, at.length)
        return segment.decode_chunk(stored, at, remote.packer)

    last = first
    for made in segment.build(first, generation, slots, read, _NO_CHANGE, remote.packer):
        key = names.segment(remote.head.disk, made.stamp)
        objects.create(key, made.data)
        hold.look(objects, hold.Stored.of(key, made.data))  # what it was made of goes
        remote.books.places.update(made.places)
        last = made.stamp
    return last


def _finish(objects: store.Store, begun: head.Head, remote: Remote, last: Stamp, version: str, now: float) -> None:
    """The snapshot that begins after the batch, and HEAD that names it."""
    data = snapshot.encode(last, _image(remote.books), remote.packer)
    key = names.snapshot(begun.disk, last)
    objects.put(key, data)
    hold.look(objects, hold.Stored.of(key, data))
    ref = head.SnapshotRef(last.epoch, last.seq, codec.digest(data).hex(), len(data))
    done = head.with_snapshot(begun, ref, now)
    objects.swap(names.head(begun.disk), head.encode(done), version)


def _image(books: recovery.Books) -> snapshot.Image:
    return snapshot.Image(books.pages, books.roots, books.rows, snapshot.table(sorted(books.places.items())))
