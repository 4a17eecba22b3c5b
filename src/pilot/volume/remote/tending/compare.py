"""Whether what lies in a host's slab is what the store was given of it: the slab itself has no hashes.

    slot ─ packed as it was stored (same stamp, same number) ─ hash ─ equal: it is; nothing was read from the store
                                                               └ not: the stored chunk is fetched, and compared

The second look is for what another version of zstd has packed. For slots that have a place in the store; reads only.
"""

from __future__ import annotations

from collections.abc import Callable

from .... import errors
from ... import names
from ...facts import Facts
from ...names import Place
from ..log import keys, segment
from ..objects import opening, store

_DEADLINE_S = 30.0
Verify = Callable[[int, Place, memoryview], str | None]


def verifier(disk: str, facts: Facts) -> Verify | None:
    """What tells of a slot, its place and its content here, what is wrong with it; None for a disk without a store.
    HostError without the disk's key."""
    if facts.local.store is None:
        return None
    objects = opening.open_store(facts.local.store)
    packer = keys.codec_at(disk, facts.local.key, objects)

    def verify(slot: int, at: Place, content: memoryview) -> str | None:
        if segment.is_chunk(content, at, packer):
            return None
        key = names.segment(disk, at.stamp)
        try:
            stored = store.retry(lambda: objects.get_range(key, at.offset, at.length), _DEADLINE_S)
            if segment.decode_chunk(stored, at, packer) == content:
                return None
        except errors.PilotError as error:
            return f"slot {slot}: is not what was stored, and {key} does not help: {error}"
        return f"slot {slot}: is not what was stored as chunk {at.number} of {key}"

    return verify
