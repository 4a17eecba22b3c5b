"""Looks whether what a host has of a disk is whole, beside its worker; changes nothing.

    meta.db   SQLite's own check; the checksum of every row; every root's pages are there
    slab      every slot that a root reaches lies within the file, and is no hole unless it is cold (in the store only)
    cold      has a place in the store
    content   on demand (`Compare`), of slots that have a place in the store: it is what was stored

The slab has no hashes: what the store does not have is not compared with anything. For a disk that is attached the
roots are those of its last commit, which the worker may free while we look: a slot that looks wrong is only told when
the roots are still the same afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ... import errors
from .. import layout
from ..books import map
from ..disk import meta, slab
from ..facts import Facts
from ..names import Place

_TRIES = 5
# (disk, its facts) → (slot, place, content) → what is wrong; None for a disk that has no store.
Verify = Callable[[int, Place, memoryview], str | None]
Compare = Callable[[str, Facts], Verify | None]


class Found(NamedTuple):
    """One piece of damage; `disk` and `slot` say what could be put right from the store."""

    root: str | None
    chunk: int | None
    what: str
    disk: str | None = None
    slot: int | None = None
    todo: str | None = None


def check(directory: str, lineage: Sequence[str], compare: Compare | None = None) -> Sequence[Found]:
    """What is damaged in the disk there and in what it reaches of its ancestors; empty: nothing was found."""
    found: Sequence[Found] = []
    for _ in range(_TRIES):
        before = _roots(directory)
        found = list(_check(directory, lineage, compare))
        if not found or _roots(directory) == before:
            break
    return found


def _roots(directory: str) -> Mapping[str, bytes] | None:
    try:
        with contextlib.closing(meta.Meta(directory, read_only=True)) as stored:
            return stored.roots()
    except errors.PilotError:
        return None  # `_check` says why


def _check(directory: str, lineage: Sequence[str], compare: Compare | None) -> Iterator[Found]:
    chain = [*lineage, directory]
    problem = _sqlite(directory)
    if problem is not None:
        yield Found(None, None, problem, todo=meta.DAMAGED)
        return
    with contextlib.ExitStack() as stack:
        try:
            sides = [_Side(path, stack, compare) for path in chain]
            roots = sides[-1].books.roots()
        except (errors.PilotError, OSError) as error:
            yield Found(None, None, str(error), todo=getattr(error, "hint", None) or meta.DAMAGED)
            return
        for name, root in roots.items():
            for index, at in enumerate(map.decode(root)):
                if at:
                    yield from _page(sides, name, index, at)


def _sqlite(directory: str) -> str | None:
    path = os.path.join(directory, "meta.db")
    uri = "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=20)) as database:
            rows = [str(row[0]) for row in database.execute("pragma integrity_check(5)")]
    except sqlite3.DatabaseError as error:
        return f"{path}: {error}"
    return None if rows == ["ok"] else f"{path}: {'; '.join(rows)}"


def _page(sides: Sequence[_Side], root: str, index: int, at: int) -> Iterator[Found]:
    first = index * layout.PAGE_ENTRIES
    try:
        entries = map.decode(_side(sides, at).books.page(layout.number_of(at)))
    except errors.PilotError as error:
        yield Found(root, first, f"map page {layout.number_of(at)}: {error}")
        return
    for n, place in enumerate(entries):
        if place:
            try:
                problem = _side(sides, place).problem(layout.number_of(place))
            except errors.PilotError as error:
                problem = _Problem(str(error))
            if problem is not None:
                yield Found(root, first + n, *problem)


def _side(sides: Sequence[_Side], at: int) -> _Side:
    if layout.depth_of(at) >= len(sides):
        raise errors.HostError(f"a place at depth {layout.depth_of(at)} of a lineage of {len(sides)}")
    return sides[layout.depth_of(at)]


class _Problem(NamedTuple):
    """What is wrong with a slot; `disk` and `slot` when its content is."""

    what: str
    disk: str | None = None
    slot: int | None = None


class _Side:
    """One disk of the lineage; closed by the stack."""

    def __init__(self, directory: str, stack: contextlib.ExitStack, compare: Compare | None) -> None:
        self._directory = directory
        self._disk = os.path.basename(directory)
        self._path = os.path.join(directory, "slab")
        self.books = stack.enter_context(contextlib.closing(meta.Meta(directory, read_only=True)))
        self._cold = set(self.books.cold())
        self._placed = set(self.books.placed()) if self._cold else set()
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, self._fd)
        self._end = os.fstat(self._fd).st_size
        self._verify = compare(self._disk, self.books.facts()) if compare else None
        self._slab = stack.enter_context(contextlib.closing(slab.Slab(directory, read_only=True)))
        self._good: set[int] = set()  # roots share most of their slots

    def problem(self, slot: int) -> _Problem | None:
        """What is wrong with a slot that a root names."""
        if slot in self._cold:
            lost = slot not in self._placed
            return _Problem(f"slot {slot} of {self._path}: is cold, and has no place in a store") if lost else None
        start = slot * layout.CHUNK_BYTES
        if start + layout.CHUNK_BYTES > self._end:
            return _Problem(f"slot {slot} of {self._path}: lies beyond its end")
        if self._is_hole(start):
            return _Problem(f"slot {slot} of {self._path}: is a hole")
        return self._compare(slot)

    def _compare(self, slot: int) -> _Problem | None:
        if self._verify is None or slot in self._good:
            return None
        for _ in range(_TRIES):  # it may be freed, evicted or stored elsewhere while we look
            at = self.books.place(slot)
            content = slab.aligned(layout.CHUNK_BYTES)
            self._slab.read(slot, 0, content)
            what = None if at is None else self._verify(slot, at, content)
            if what is None or self.books.is_cold(slot):
                self._good.add(slot)
                return None
        return _Problem(f"{self._path}: {what}", self._disk, slot)

    def _is_hole(self, start: int) -> bool:
        try:
            return os.lseek(self._fd, start, os.SEEK_DATA) >= start + layout.CHUNK_BYTES
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data up to the end
                return True
            raise
