"""The books of one disk: map, slots and named roots together, and what has to be stored of them.

The pure core. It decides where a chunk is written, what a checkpoint, a restore or a sweep changes, and collects that
as `Commit` values; `meta` stores each in one transaction. The rules that make a crash at any point harmless:

    1. a chunk is redirected to a slot that no stored map names (or was FRESH, which only this head names);
    2. data is stable before a commit that names it is stored        (the caller: `disk.Disk.flush`)
    3. a slot is given out again only after a commit that no longer names it was stored
    4. a named root (checkpoint, fork) is stored with all its pages in one commit
    5. a change that is acknowledged is noted first where the death of the process does not reach it (`delta`)
    6. where a slot's content is in the object store is forgotten in the commit that frees the slot, so a slot that is
       given out is never taken for one that can be had from there

So a crash leaves the last stored commit, complete, plus slots that nobody names; opening marks what the roots reach,
and everything else is free. Not thread-safe: the caller holds its lock. No file, no clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec
from msgspec import structs

from ... import errors
from .. import facts as fact_rows
from .. import layout
from ..facts import Facts
from . import delta, map, slots

HEAD = "head"


class Image(Protocol):
    """What is stored of one disk; `meta.Meta` keeps it in SQLite, tests in a dict."""

    def facts(self) -> Facts: ...
    def roots(self) -> dict[str, bytes]: ...
    def page(self, number: int) -> bytes: ...
    def page_numbers(self) -> set[int]: ...
    def placed(self) -> Iterable[int]: ...
    def forget_places(self, slots: Iterable[int]) -> None: ...


class Commit(msgspec.Struct, frozen=True):
    """What one transaction stores. `retired` are slots that may be freed once it is stored; it forgets where in the
    object store their content was."""

    pages: Mapping[int, bytes]
    roots: Mapping[str, bytes]
    dropped_roots: tuple[str, ...] = ()
    dropped_pages: tuple[int, ...] = ()
    facts: Mapping[str, str | None] = msgspec.field(default_factory=dict)
    retired: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pages or self.roots or self.dropped_roots or self.dropped_pages or self.facts or self.retired)


class Target(msgspec.Struct, frozen=True):
    """Where a write to a chunk goes. `source` is where its old content must be copied from, HOLE for nothing, None when
    the slot is written in place."""

    slot: int
    source: int | None


class Ledger:
    """The books of the disk at `depth` of its lineage. `load_ancestor` reads a page that an ancestor owns; `changes`
    are what a killed predecessor had acknowledged and not stored."""

    def __init__(
        self,
        image: Image,
        depth: int,
        load_ancestor: Callable[[int], bytes],
        changes: Callable[[int], Iterable[delta.Change]] = lambda era: (),
    ) -> None:
        self._image = image
        self._depth = depth
        self._base = layout.place(depth, 0)
        self._load_ancestor = load_ancestor
        self.facts = self._stored_facts = self._taken_facts = image.facts()
        self.roots = {name: root for name, root in image.roots().items() if name != HEAD}
        head = image.roots()[HEAD]
        numbers = image.page_numbers()
        self.map = map.ChunkMap(head, depth, self._load, max(numbers, default=0) + 1)
        self.slots = slots.Slots()
        # What the stored head names stays taken until another head is stored (rule 3), so both heads are marked.
        stored, _, stored_pages = self._mark()
        for change in changes(self.era):
            for chunk, at in change.places():
                self.map.put(chunk, at)
        live, named, live_pages = self._mark()
        live_pages |= stored_pages
        live.extend(bytes(max(0, len(stored) - len(live))))
        self.slots = slots.Slots(n for n in range(1, len(live)) if live[n] or (n < len(stored) and stored[n]))
        self.slots.sweep(live, named)  # what only the stored head names goes with it
        # Without a store nobody would ever take what is unsent, so it is not collected.
        self._has_store = self.facts.local.store is not None
        self.unsent: set[int] = self._find_unsent() if self._has_store else set()
        self._changed_roots: dict[str, bytes] = {}
        self._dropped_roots: set[str] = set()
        self._dropped_pages: set[int] = numbers - live_pages
        self._stored_head = head

    @property
    def era(self) -> int:
        """How often the head was replaced by another root."""
        return self.facts.era

    # ---- reading and writing chunks

    def places(self, first: int, count: int) -> list[int]:
        """Where `count` chunks from `first` on are."""
        return self.map.places(first, count)

    def target(self, chunk: int, at: int) -> Target:
        """Where to write chunk `chunk`, which is at `at` now; the caller writes, then calls `publish`."""
        if self._is_fresh(at):
            return Target(layout.number_of(at), None)
        slot = self.slots.allocate()
        if self._has_store:
            self.unsent.add(slot)
        return Target(slot, at)

    def publish(self, chunk: int, at: int, slot: int) -> None:
        """`slot` holds chunk `chunk`, which was at `at`."""
        self.map.put(chunk, layout.place(self._depth, slot))
        self._release(at)

    def streak(self, chunk: int, limit: int) -> int:
        """How many chunks up to this one were written since the last cut, without a gap; at most `limit`."""
        first = max(0, chunk - limit + 1)
        behind = reversed(self.map.places(first, chunk - first + 1))
        return sum(1 for _ in itertools.takewhile(self._is_fresh, behind))

    def reserve(self, first: int, limit: int) -> delta.Change | None:
        """Give chunks from `first` on, as far as they are holes, the next free slots: holes, too, but to be written in
        place. At most `limit`, and none beyond the end."""
        limit = min(limit, layout.chunk_count(self.facts.size_bytes) - first)
        places = self.map.places(first, limit) if limit > 0 else []
        holes = next((n for n, at in enumerate(places) if at != layout.HOLE), len(places))
        if not holes:
            return None
        slot, count = self.slots.allocate_run(holes)
        for n in range(count):
            self.map.put(first + n, layout.place(self._depth, slot + n))
        if self._has_store:
            self.unsent.update(range(slot, slot + count))
        return delta.Change(first, count, layout.place(self._depth, slot))

    def _is_fresh(self, at: int) -> bool:
        own = self.own_slot(at)
        return own is not None and self.slots.is_fresh(own)

    def abandon_slot(self, slot: int) -> None:
        """A write to a slot from `target` failed: nobody will publish it."""
        self.slots.release(slot)

    def trim(self, first: int, count: int) -> int:
        """Make holes of these chunks; how many were none."""
        holes = list(self.map.mapped(first, count))
        for chunk, at in holes:
            self.map.put(chunk, layout.HOLE)
            self._release(at)
        return len(holes)

    def own_slot(self, at: int) -> int | None:
        """The slot, when the place is one of this disk's own."""
        return layout.number_of(at) if at and layout.depth_of(at) == self._depth else None

    # ---- roots

    def pin(self, name: str, source: str | None = None) -> bytes:
        """Give the present content, or that of another name, a name; returns its root. Conflict when it is taken."""
        if name in self.roots or name == HEAD:
            raise errors.Conflict(f"{name}: exists already")
        root = self.root(source) if source else self._pin_head()
        self.roots[name] = self._changed_roots[name] = root
        self._dropped_roots.discard(name)
        return root

    def _pin_head(self) -> bytes:
        root = self.map.cut()
        self.map.pin()
        self.slots.pin()
        return root

    def unpin(self, name: str) -> None:
        """Forget a named root, and what is known of it; `sweep` finds what only it reached."""
        self.root(name)
        del self.roots[name]
        self._changed_roots.pop(name, None)
        self._dropped_roots.add(name)
        self.facts = self.facts.without_root(name)

    def root(self, name: str) -> bytes:
        """A named root; NotFound."""
        if name not in self.roots:
            raise errors.NotFound(f"{name}: not found")
        return self.roots[name]

    def restore(self, name: str) -> None:
        """The head becomes a named root; what only the old head named is found by `sweep`. All must be stored before,
        and this alone be the next commit: when that fails, the head is the stored one again."""
        self._become(self.root(name))

    def clear(self) -> None:
        """The head becomes one hole (a deleted disk that forks still read from); as `restore`."""
        self._become(bytes(len(self.map.root)))

    def _become(self, root: bytes) -> None:
        self.facts = structs.replace(self.facts, era=self.era + 1)
        size = len(self.map.root)
        self.map.reset(root + bytes(size - len(root)))
        self.slots.pin()

    def changes(self, edit: Callable[[Facts], Facts]) -> fact_rows.Changes:
        """The rows by which somebody else stores what he has learned of the disk; then `learn` it."""
        return fact_rows.changes(self._stored_facts, edit(self._stored_facts))

    def learn(self, edit: Callable[[Facts], Facts]) -> None:
        """It is stored."""
        self.facts, self._stored_facts = edit(self.facts), edit(self._stored_facts)

    def cut(self) -> None:
        """New generation: what was written so far is immutable, although nothing names it."""
        self.map.cut()
        self.slots.cut()

    def resize(self, size_bytes: int) -> None:
        """Grow the head."""
        self.map.resize(size_bytes)

    def take_unsent(self) -> list[int]:
        """The slots that the object store does not have, and would have to: ask right after `cut`."""
        taken, self.unsent = self.unsent, set()
        return sorted(slot for slot in taken if self.is_named(slot))

    def is_named(self, slot: int) -> bool:
        """Whether a root may name the slot."""
        return self.slots.state(slot) not in (slots.SlotState.FREE, slots.SlotState.RETIRED)

    def _find_unsent(self) -> set[int]:
        """At the start: all used slots but those with a place in the store; places of free slots are forgotten."""
        used = self.slots.used()
        gone = []
        for slot in self._image.placed():
            if slot < len(used) and used[slot]:
                used[slot] = 0
            else:
                gone.append(slot)
        self._image.forget_places(gone)
        return {slot for slot, is_unsent in enumerate(used) if is_unsent}

    # ---- storing

    def take(self) -> Commit:
        """All that is not stored yet. Store it (data first!), then give it to `stored`, or to `not_stored`."""
        pages = self.map.take_dirty()
        head = self.map.root
        roots = dict(self._changed_roots)
        if head != self._stored_head:
            roots[HEAD] = head
        dropped = (self._dropped_pages | self.map.take_superseded()) - self.map.own_page_numbers()
        commit = Commit(
            pages, roots, tuple(self._dropped_roots), tuple(dropped), fact_rows.changes(self._stored_facts, self.facts),
            tuple(self.slots.take_retired()),
        )  # fmt: skip
        self._changed_roots, self._dropped_roots, self._dropped_pages = {}, set(), set()
        self._taken_facts = self.facts
        return commit

    def stored(self, commit: Commit) -> None:
        """The commit is on disk. Its `retired` slots are given to `slots.free` by the caller, once they are holes."""
        self.map.stored()
        self._stored_head = commit.roots.get(HEAD, self._stored_head)
        self._stored_facts = self._taken_facts

    def not_stored(self, commit: Commit) -> None:
        """The commit failed as a whole: all of it is to be stored again, except new names, which are taken back."""
        self.map.not_stored(commit.pages)
        self.slots.retire_again(list(commit.retired))
        self._dropped_pages |= set(commit.dropped_pages)
        for name in commit.roots:
            self.roots.pop(name, None)
        for name in commit.dropped_roots:
            self.roots[name] = self._image.roots()[name]
        if self.facts.era != self._stored_facts.era:
            self.map.reset(self._stored_head)
        self.facts = self._stored_facts
        self._stored_head = b""  # whatever is there now: it is to be stored again

    def sweep(self) -> int:
        """Retire all slots and pages that no root reaches; how many slots. Nothing may be unstored except the head."""
        live, named, live_pages = self._mark()
        self._dropped_pages |= self._image.page_numbers() - live_pages
        return self.slots.sweep(live, named)

    def _mark(self) -> tuple[bytearray, bytearray, set[int]]:
        """One byte per slot: reached at all; reached from the named roots, all of whose pages are stored. And the
        numbers of the own pages that are reached.

        Only own pages can name own slots: an ancestor's page is older than this disk.
        """
        named = bytearray(len(self.slots))
        pages: set[int] = set()
        for root in self.roots.values():
            for at in map.decode(root):
                number = self.own_slot(at)
                if number is not None and number not in pages:
                    pages.add(number)
                    self._mark_places(named, map.decode(self._load(at)))
        live = named[:]
        for page in self.map.own_pages(besides=pages):
            self._mark_places(live, page)
        named.extend(bytes(len(live) - len(named)))
        return live, named, pages | self.map.own_page_numbers()

    def _mark_places(self, live: bytearray, places: Iterable[int]) -> None:
        for at in places:
            if at > self._base:
                number = at - self._base
                if number >= len(live):
                    live.extend(bytes(number + 1 - len(live)))
                live[number] = 1

    def _release(self, at: int) -> None:
        own = self.own_slot(at)
        if own is not None:
            self.slots.release(own)

    def _load(self, at: int) -> bytes:
        own = self.own_slot(at)
        return self._load_ancestor(at) if own is None else self._image.page(own)
