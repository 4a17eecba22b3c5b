"""Where the chunks of an ancestor are now: its holder, on whatever host, may have compacted its log since it came here.

    cold chunk ─ NotFound ─► HEAD ─ snapshot ─ log ─► what forks here need is still there? ─► new places in meta.db

The content of a slot does not change while a root names it, so a place that is newer is as good; but a slot that
nothing pins any more may be given out again. So nothing is taken over unless each fork's root that is here is a root
there, and the same: else what is read would be another's bytes. Our own disks need none of this: what moves their
chunks says so in their meta.db.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

from .... import errors
from ... import facts
from ...disk import meta
from ...names import Place
from ..log import hold, keys, recovery, snapshot
from ..log.segment import Delta
from ..objects.store import Store

_ROWS = 4096


def find_again(objects: Store, disk: str, books: meta.Meta, is_cold: Callable[[int], bool]) -> None:
    """Correct the places of an ancestor's cold slots in its meta.db. NotFound when it is no longer there as its forks
    need it; PeerError, Damaged."""
    if not books.facts().local.foreign:
        return
    head, _ = hold.read_head(objects, disk)
    latest = _Latest()
    recovery.recover(objects, head, keys.codec_of(head), latest)
    _check_pins(disk, books, latest)
    places = ((slot, at) for slot, at in latest.places() if is_cold(slot))
    while rows := dict(itertools.islice(places, _ROWS)):
        books.sent(rows, (), {})


def _check_pins(disk: str, books: meta.Meta, latest: _Latest) -> None:
    if "sealed" in latest.rows:
        return
    for name, root in books.roots().items():
        if name.startswith(facts.FORK) and latest.roots.get(name) != root:
            raise errors.NotFound(f"disk {disk}: what {name.removeprefix(facts.FORK)} was forked from was given up")


class _Latest:
    """A `recovery.Sink` that keeps the table of places packed: a large disk has millions."""

    def __init__(self) -> None:
        self.roots: dict[str, bytes] = {}
        self.rows: dict[str, str] = {}
        self._table: Iterable[tuple[int, Place]] = ()
        self._later: dict[int, Place] = {}

    def begin(self, image: snapshot.Image) -> None:
        """These books, and nothing else."""
        self.roots, self.rows, self._table, self._later = dict(image.roots), dict(image.facts), image.places, {}

    def apply(self, places: Mapping[int, Place], delta: Delta) -> None:
        """One batch on top."""
        self._later.update(places)
        if delta.full:
            self.roots, self.rows = {}, {}
        recovery.merge(self.roots, delta.roots.items())
        recovery.merge(self.rows, delta.facts.items())

    def places(self) -> Iterator[tuple[int, Place]]:
        """Where every slot is."""
        yield from self._table
        yield from self._later.items()
