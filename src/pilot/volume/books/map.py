"""The chunk map: which slot holds each chunk of a disk, as a copy-on-write tree of two levels.

    root: place of page 0 | place of page 1 | …            one entry for each 1024 chunks (64 MiB of disk)
                 │
    page:  place of chunk 0's slot | …                     8 KiB, shared by every root that names it

A page that an older root may name is never changed: the first change after `cut` copies it under a new number. Pages
are loaded when they are needed; those that are stored as they are may be dropped again. Values and arrays only: no
file, no clock, no lock; the owner (`ledger`) sees to it that one thread at a time is in here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterator, Mapping

from .. import layout

_KEPT_PAGES = 48  # of those that could be loaded again: 3 GiB of disk
LoadPage = Callable[[int], bytes]
_EMPTY_PAGE = bytes(8 * layout.PAGE_ENTRIES)


def empty_root(size_bytes: int) -> bytes:
    """The root of a disk that is one hole."""
    return bytes(8 * layout.page_count(size_bytes))


def decode(blob: bytes) -> array[int]:
    """A stored root or page as an array of places."""
    entries = array("Q")
    entries.frombytes(blob)
    return entries


class ChunkMap:
    """The head of a disk: a mutable root over shared pages.

    `load` reads the stored page at a place (own or an ancestor's); `next_page` is the first unused page number.
    """

    def __init__(self, root: bytes, depth: int, load: LoadPage, next_page: int = 1) -> None:
        self._root = decode(root)
        self._depth = depth
        self._load = load
        self._next_page = next_page
        self._pages: dict[int, array[int]] = {}
        self._fresh: set[int] = set()  # indexes of pages that no other root names
        self._dirty: set[int] = set()  # indexes of pages that differ from what is stored
        self._shared: dict[int, bytes] = {}  # pages shared by a cut before they were stored
        self._storing: Mapping[int, bytes] = {}  # pages that were taken, until they are stored
        self._young: set[int] = set()  # numbers of pages that only this head has named
        self._superseded: set[int] = set()  # of those, what it names no longer

    @property
    def root(self) -> bytes:
        """The root as it would be stored now."""
        return self._root.tobytes()

    def places(self, first: int, count: int) -> list[int]:
        """Where `count` chunks from chunk `first` on are; IndexError past the end of the disk."""
        found: list[int] = []
        while count > 0:
            index, entry = divmod(first, layout.PAGE_ENTRIES)
            take = min(count, layout.PAGE_ENTRIES - entry)
            found += self._page(index)[entry : entry + take] if self._root[index] else [layout.HOLE] * take
            first, count = first + take, count - take
        return found

    def put(self, chunk: int, at: int) -> None:
        """Chunk `chunk` is at `at` from now on."""
        index, entry = divmod(chunk, layout.PAGE_ENTRIES)
        if at == layout.HOLE and not self._root[index]:
            return
        self._own_page(index)[entry] = at

    def mapped(self, first: int, count: int) -> Iterator[tuple[int, int]]:
        """(chunk, place) of the chunks of this range that are no holes; skips empty pages as a whole."""
        last = first + count
        while first < last:
            index, entry = divmod(first, layout.PAGE_ENTRIES)
            take = min(last - first, layout.PAGE_ENTRIES - entry)
            if self._root[index]:
                part = self._page(index)[entry : entry + take]
                yield from ((first + n, at) for n, at in enumerate(part) if at)
            first += take

    def cut(self) -> bytes:
        """Make every page immutable, and return the root that names them: from now on changes go to copies."""
        self._shared = self._collect()
        self._fresh.clear()
        return self.root

    def pin(self) -> None:
        """Another root names all pages."""
        self._young.clear()

    def take_superseded(self) -> set[int]:
        """Numbers of pages that nothing names since the last call."""
        taken, self._superseded = self._superseded, set()
        return taken

    def take_dirty(self) -> dict[int, bytes]:
        """Page number → content, of all pages changed since the last call. `stored` or `not_stored` must follow."""
        self._storing = taken = self._collect()
        return taken

    def _collect(self) -> dict[int, bytes]:
        taken = self._shared
        taken.update((layout.number_of(self._root[index]), self._pages[index].tobytes()) for index in self._dirty)
        self._shared = {}
        self._dirty.clear()
        return taken

    def stored(self) -> None:
        """What was taken can be loaded."""
        self._storing = {}

    def not_stored(self, pages: Mapping[int, bytes]) -> None:
        """Take back `take_dirty`: storing these pages failed. What changed since is newer."""
        self._shared = {**pages, **self._shared}
        self._storing = {}

    def reset(self, root: bytes) -> None:
        """Become another root (restore): its pages are shared with whoever names them."""
        self._root = decode(root)
        self._pages.clear()
        self._fresh.clear()
        self._dirty.clear()
        self._young.clear()

    def resize(self, size_bytes: int) -> None:
        """Grow to that size; the new chunks are holes."""
        self._root.extend([0] * (layout.page_count(size_bytes) - len(self._root)))

    def own_page_numbers(self) -> set[int]:
        """Numbers of the pages of this disk (not of ancestors) that the head names."""
        return {layout.number_of(at) for at in self._root if at and layout.depth_of(at) == self._depth}

    def own_pages(self, besides: Container[int]) -> Iterator[array[int]]:
        """The head's pages of this disk but those with these numbers, one at a time; those not needed before are not
        kept."""
        for index, at in enumerate(self._root):
            if at and layout.depth_of(at) == self._depth and layout.number_of(at) not in besides:
                yield self._pages[index] if index in self._pages else decode(self._content(at))

    def _page(self, index: int) -> array[int]:
        page = self._pages.get(index)
        if page is None:
            self._drop_some()
            page = self._pages[index] = decode(self._content(self._root[index]))
        return page

    def _content(self, at: int) -> bytes:
        """Of the page at a place, which may be on its way to being stored."""
        if layout.depth_of(at) == self._depth:
            for waiting in (self._shared, self._storing):
                if (found := waiting.get(layout.number_of(at))) is not None:
                    return found
        return self._load(at)

    def _drop_some(self) -> None:
        """Half of the pages that are stored as they are, when there are many: those not loaded for longest."""
        clean = [index for index in self._pages if index not in self._dirty]
        if len(clean) > _KEPT_PAGES:
            for index in clean[: _KEPT_PAGES // 2]:
                del self._pages[index]

    def _own_page(self, index: int) -> array[int]:
        """The page, for changing: copied under a new number when another root may name it."""
        if index not in self._fresh:
            page = self._page(index)[:] if self._root[index] else decode(_EMPTY_PAGE)
            self._pages[index] = page
            self._supersede(self._root[index])
            self._root[index] = layout.place(self._depth, self._next_page)
            self._young.add(self._next_page)
            self._next_page += 1
            self._fresh.add(index)
        page = self._page(index)
        self._dirty.add(index)
        return page

    def _supersede(self, at: int) -> None:
        number = layout.number_of(at)
        if at and layout.depth_of(at) == self._depth and number in self._young:
            self._young.discard(number)
            self._superseded.add(number)
