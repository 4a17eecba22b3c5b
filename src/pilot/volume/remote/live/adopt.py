"""Makes a disk's directory from what is in the store: the map only, every chunk cold.

    take over    HEAD claimed (snapshot and log come meanwhile) ─ end of the log ─ directory filled, while HEAD says
                 where this epoch begins
    ancestor     log replayed as of now, only what forks need is kept; never written, never uploaded ("local/foreign")

Being killed in between leaves a claimed HEAD (the next claim is one more) and a directory under a temporary name.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from concurrent import futures

from .... import errors
from ... import names
from ...books import ledger, map
from ...disk import disk as disks
from ...disk import meta, slab
from ...names import Place
from ..log import hold, keys, recovery
from ..log.codec import Damaged
from ..log.head import Head
from ..objects.store import Store

_FORK = "fork/"


def take_over(objects: Store, disk: str, directory: str, holder: str, found: tuple[Head, str] | None = None) -> Head:
    """Claim the disk and fill an empty directory with it. Damaged; NotFound; StateError when nothing of it is there.
    `found`: HEAD and its version, if they were just read."""
    found = found or hold.read_head(objects, disk)
    packer = keys.codec_of(found[0])  # nobody is fenced for a claimant who cannot read it
    books = recovery.Books()
    with recovery.Ahead(objects, found[0], packer) as ahead:
        held = hold.Hold.take(objects, disk, holder, found)
        end = recovery.recover(objects, held.head, packer, books, ahead)
    if end.seq == 0 and held.head.lineage:
        raise errors.StateError(f"adopt {disk}: its fork had not come to {objects.url} when it was last seen")
    with futures.ThreadPoolExecutor(1, "begin") as pool:
        begun = pool.submit(held.begin, end.seq + 1)
        _fill(directory, held.head, books, _own_facts(objects, held.head, holder, books, end.seq))
        begun.result()
    return held.head


def _own_facts(objects: Store, head: Head, holder: str, books: recovery.Books, seq: int) -> dict[str, str]:
    now = repr(time.time())
    facts = {disks.LOCAL_STORE: objects.url, disks.LOCAL_HOLDER: holder, disks.LOCAL_SEQ: str(seq)}
    facts |= keys.facts_of(head.key)
    facts |= {disks.durable_fact(name): now for name in books.roots if name != ledger.HEAD}
    facts |= {disks.DURABLE_AT: now} if seq else {}
    if "sealed" in books.facts:
        facts[disks.DURABLE_SEALED] = "1"
    return facts


def import_ancestor(objects: Store, disk: str, directory: str) -> None:
    """Fill an empty directory with what forks need of a disk."""
    head, _ = hold.read_head(objects, disk)
    books = _read(objects, head)
    facts = {disks.LOCAL_STORE: objects.url, disks.LOCAL_FOREIGN: "1", "abandoned": "1"}
    _fill(directory, head, books, facts | keys.facts_of(head.key))


def extend_ancestor(objects: Store, disk: str, directory: str, child: str) -> None:
    """An ancestor that is here as another fork needs it: have what `child` needs as well."""
    with contextlib.closing(meta.Meta(directory, read_only=True)) as known:
        facts, roots = known.facts(), known.root_names()
    if disks.LOCAL_FOREIGN not in facts or "sealed" in facts or _FORK + child in roots:
        return
    head, _ = hold.read_head(objects, disk)
    books = _read(objects, head)
    if _FORK + child not in books.roots:
        raise Damaged(f"adopt {child}: its ancestor {disk} does not hold what it was forked from")
    _add(directory, books)


def _read(objects: Store, head: Head) -> recovery.Books:
    books = recovery.Books()
    recovery.recover(objects, head, keys.codec_of(head), books)
    if "sealed" not in books.facts:
        books.roots = {name: root for name, root in books.roots.items() if name.startswith(_FORK)}
        books.facts = {key: value for key, value in books.facts.items() if "/" not in key}
    return books


def _fill(directory: str, head: Head, books: recovery.Books, facts: Mapping[str, str]) -> None:
    known = {"size": str(head.size_bytes), "lineage": json.dumps(head.lineage), **books.facts, **facts}
    root = books.roots.get(ledger.HEAD) or map.empty_root(head.size_bytes)
    disks.create(directory, int(known["size"]), {k: v for k, v in known.items() if k not in ("size", "format")}, root)
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
