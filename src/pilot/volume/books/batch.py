"""What one cut of a disk has to say to its store, and what came of it: values that disk and store hand each other."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..facts import Facts
from ..names import Place


class Batch(msgspec.Struct, frozen=True):
    """A cut: slots and pages that the store does not have; all roots and facts. `covers`: the flush it contains."""

    slots: tuple[int, ...]
    pages: Mapping[int, bytes]
    roots: Mapping[str, bytes]
    facts: Facts  # only those that travel
    covers: int
    cut_at: float  # seconds since 1970
    old_pages: Mapping[int, bytes] | None = None  # for a snapshot: the pages that the store has
    old_places: Mapping[int, Place] | None = None


class Sent(msgspec.Struct, frozen=True):
    """What came of it."""

    seq: int
    places: Mapping[int, Place]
