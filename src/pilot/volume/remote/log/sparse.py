"""Which segments of a log are worth writing again: little of them is live. Pure; for `compaction` and `inband`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from ...names import Place, Stamp
from .head import Head

LIVE_SHARE = 0.3


class Rewrite(msgspec.Struct, frozen=True):
    """What to write again: live slots of the segments `old`. Sizes in bytes, as stored."""

    old: Sequence[Stamp]
    slots: Sequence[int]
    old_bytes: int
    live_bytes: int


def plan(described: Head, places: Mapping[int, Place], live: Collection[int], sizes: Mapping[Stamp, int],
         share: float = LIVE_SHARE) -> Rewrite:  # fmt: skip
    """Segments before the snapshot (the log after it stays as it is) with something live, and less than `share`."""
    held: dict[Stamp, list[int]] = {}
    for slot in sorted(live & places.keys()):
        held.setdefault(places[slot].stamp, []).append(slot)
    live_bytes = {stamp: sum(places[slot].length for slot in slots) for stamp, slots in held.items()}
    old = [
        stamp
        for stamp in sorted(held)
        if stamp.seq < described.replay_from and stamp in sizes and live_bytes[stamp] < share * sizes[stamp]
    ]
    slots = [slot for stamp in old for slot in held[stamp]]
    return Rewrite(old, slots, sum(sizes[stamp] for stamp in old), sum(live_bytes[stamp] for stamp in old))
