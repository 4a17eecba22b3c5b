"""Makes a disk's directory from what is in the store: the map only, every chunk cold.

    take over    HEAD claimed (snapshot and log come meanwhile) ─ end of the log ─ directory filled, while HEAD says
                 where this epoch begins
    ancestor     log replayed as of now, only what forks need is kept; never written, never uploaded ("local/foreign")

Being killed in between leaves a claimed HEAD (the next claim is one more) and a directory under a temporary name.
"""

from __future__ import annotations

import contextlib
import time
from concurrent import futures

from msgspec import structs

from .... import errors
from ... import facts, layout, names
from ...books import ledger, map
from ...disk import disk as disks
from ...disk import meta, slab
from ...facts import Facts, Local
from ...names import Place
from ..log import hold, keys, recovery
from ..log.codec import Damaged
from ..log.head import Head
from ..objects.store import Store


def take_over(objects: Store, disk: str, directory: str, holder: str, found: tuple[Head, str] | None = None) -> Head:
    """Claim the disk and fill an empty directory with it. Damaged; NotFound; StateError when nothing of it is there.
    `found`: HEAD and its version, if they were just read."""
    found = found or hold.read_head(objects, disk)
    packer = keys.codec_of(found[0])  # nobody is fenced for a claimant who cannot read it
    books = recovery.Books()
    with recovery.Ahead(objects, found[0], packer) as ahead:
        held = hold.Hold.take(objects, disk, holder, found)
        end = recovery.recover(objects, held.head, packer, books, ahead)
    _check(held.head, books)
    if end.seq == 0 and held.head.lineage:
        raise errors.StateError(f"adopt {disk}: its fork had not come to {objects.url} when it was last seen")
    with futures.ThreadPoolExecutor(1, "begin") as pool:
        begun = pool.submit(held.begin, end.seq + 1)
        _fill(directory, held.head, books, _own_facts(objects, held.head, holder, books, end.seq))
        begun.result()
    return held.head


def _own_facts(objects: Store, head: Head, holder: str, books: recovery.Books, seq: int) -> Local:
    now = time.time()
    return Local(
        store=objects.url, holder=holder, key=head.key, seq=seq, durable_at=now if seq else None,
        durable_sealed=books.facts.sealed, durable_roots={name: now for name in books.roots if name != ledger.HEAD},
    )  # fmt: skip


def import_ancestor(objects: Store, disk: str, directory: str) -> None:
    """Fill an empty directory with what forks need of a disk."""
    head, _ = hold.read_head(objects, disk)
    books = _read(objects, head)
    books.rows["abandoned"] = "1"
    _fill(directory, head, books, Local(store=objects.url, key=head.key, foreign=True))


def extend_ancestor(objects: Store, disk: str, directory: str, child: str) -> None:
    """An ancestor that is here as another fork needs it: have what `child` needs as well."""
    with contextlib.closing(meta.Meta(directory, read_only=True)) as known:
        here, roots = known.facts(), known.root_names()
    if not here.local.foreign or here.sealed or facts.FORK + child in roots:
        return
    head, _ = hold.read_head(objects, disk)
    books = _read(objects, head)
    if facts.FORK + child not in books.roots:
        raise Damaged(f"adopt {child}: its ancestor {disk} does not hold what it was forked from")
    _add(directory, books)


def _read(objects: Store, head: Head) -> recovery.Books:
    books = recovery.Books()
    recovery.recover(objects, head, keys.codec_of(head), books)
    _check(head, books)
    if "sealed" not in books.rows:
        books.roots = {name: root for name, root in books.roots.items() if name.startswith(facts.FORK)}
        books.rows = {key: value for key, value in books.rows.items() if "/" not in key}
    return books


def _check(head: Head, books: recovery.Books) -> None:
    """Damaged unless the map is whole: a page that is too short would put every chunk behind it in another's place."""
    try:
        most = 8 * layout.page_count(layout.check_size(head.size_bytes))
    except errors.PilotError as error:
        raise Damaged(f"adopt {head.disk}: {error}") from error
    for number, page in books.pages.items():
        if number < 1 or len(page) != 8 * layout.PAGE_ENTRIES:
            raise Damaged(f"adopt {head.disk}: page {number} of its map has {len(page)} bytes")
    for name, root in books.roots.items():
        if len(root) % 8 or len(root) > most:
            raise Damaged(f"adopt {head.disk}: root {name} of its map has {len(root)} bytes")


def _fill(directory: str, head: Head, books: recovery.Books, local: Local) -> None:
    described = Facts(size_bytes=head.size_bytes, lineage=head.lineage).with_rows(books.rows)
    root = books.roots.get(ledger.HEAD) or map.empty_root(head.size_bytes)
    disks.create(directory, structs.replace(described, format=layout.FORMAT, local=local), root)
    _add(directory, books)


def _add(directory: str, books: recovery.Books) -> None:
    """These books on top of those of a directory; every slot that is not the same as before is cold."""
    with contextlib.closing(meta.Meta(directory)) as stored:
        before = stored.places()
        stored.commit(ledger.Commit(books.pages, {k: v for k, v in books.roots.items() if k != ledger.HEAD}))
        changed = {slot: at for slot, at in books.places.items() if not _same(before.get(slot), at)}
        stored.sent(changed, books.pages, {}, cold=True)
    data = slab.Slab(directory)
    try:
        data.reserve(max(books.places, default=0) + 1)
        data.sync()
    finally:
        data.close()


def _same(before: Place | None, at: Place) -> bool:
    return before is not None and before.hash == at.hash


def parse_url(url: str, objects: Store) -> str:
    """The disk in `<store's URL>/vol/<disk>`; PilotError when it is in another store."""
    prefix, _, disk = url.rstrip("/").rpartition("/vol/")
    if prefix.rstrip("/") != objects.url.rstrip("/") or not names.is_disk(disk):
        raise errors.PilotError(f"adopt {url}: not in this host's store", hint=f"a URL below {objects.url}/vol/")
    return disk
