"""What a disk reads of its ancestors: their slabs and pages, which others may read and evict at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from .. import layout
from . import meta, sharing, slab


class Lineage:
    """The ancestors by depth, the first disk first; closed by the stack. `is_limited`: this host's slabs may take only
    so much, so that ancestors are evicted from, too."""

    def __init__(self, directories: Sequence[str], stack: contextlib.ExitStack, *, is_limited: bool) -> None:
        self._ancestors = [Ancestor(path, stack, is_limited=is_limited) for path in directories]

    def __getitem__(self, depth: int) -> Ancestor:
        return self._ancestors[depth]

    def __iter__(self) -> Iterator[Ancestor]:
        return iter(self._ancestors)

    def page(self, at: int) -> bytes:
        """A page of the map that an ancestor owns."""
        return self._ancestors[layout.depth_of(at)].meta.page(layout.number_of(at))


class Ancestor:
    """One of them; closed by the stack."""

    def __init__(self, directory: str, stack: contextlib.ExitStack, *, is_limited: bool) -> None:
        self.directory = directory
        # First: from now on nothing leaves the slab, so what meta.db says of it stays true.
        self.sharing = stack.enter_context(contextlib.closing(sharing.Readers(directory)))
        self.meta = meta.Meta(directory, read_only=True)
        known = self.meta.facts()
        self.is_cached = bool(self.meta.cold()) or (is_limited and known.local.store is not None)
        if self.is_cached:  # what is fetched, or evicted, will be written down
            self.meta.close()
            self.meta = meta.Meta(directory)
        stack.callback(self.meta.close)
        self.slab = stack.enter_context(contextlib.closing(slab.Slab(directory, read_only=not self.is_cached)))
        # Only what never changes again may be fetched without being asked for by name.
        self._immutable = known.sealed or known.local.foreign

    def allowed(self, slots: Iterable[int]) -> Sequence[int]:
        """Which of these slots may be fetched along with one that the disk needs."""
        return list(slots) if self._immutable else []
