"""What the objects of a store are called.

    name/<volume>.json              which disk a volume is               create-only, deleted with the volume
    vol/<disk>/HEAD.json            `head`                               changed by compare-and-swap only
    vol/<disk>/seg/<epoch>-<seq>    `segment`: chunks and map changes    created once, never changed
    vol/<disk>/map/<epoch>-<seq>    `snapshot`: the whole map at seq     created once, never changed

Epoch and seq are hexadecimal with 8 and 12 digits, so that names sort as numbers do. A base is a volume as any other
(sealed; its forks name it in their lineage): there is no second place for bases.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_DISK = re.compile(r"[0-9a-f]{16}")
_STAMP = re.compile(r"([0-9a-f]{8})-([0-9a-f]{12})")
MAX_EPOCH = (1 << 32) - 1
MAX_SEQ = (1 << 32) - 1  # half of a nonce's 64 bits of stamp; one segment a second for 136 years


class Stamp(NamedTuple):
    """Which object of its kind: written in `epoch`, the `seq`-th of the log. The order of stamps is that of the log."""

    epoch: int
    seq: int


class Place(NamedTuple):
    """Where a slot's content is in the store: bytes of a segment, the `number`-th in there."""

    stamp: Stamp
    offset: int
    length: int
    number: int
    hash: bytes


def text(stamp: Stamp) -> str:
    """A stamp as in names."""
    return f"{stamp.epoch:08x}-{stamp.seq:012x}"


def parse(name: str) -> Stamp | None:
    """The last part of a key as a stamp; None when it is none."""
    match = _STAMP.fullmatch(name.rpartition("/")[2])
    return Stamp(int(match[1], 16), int(match[2], 16)) if match else None


def is_disk(text: str) -> bool:
    """Whether this could be a disk's id."""
    return _DISK.fullmatch(text) is not None


def head(disk: str) -> str:
    return f"vol/{disk}/HEAD.json"


def segment(disk: str, stamp: Stamp) -> str:
    return f"vol/{disk}/seg/{text(stamp)}"


def snapshot(disk: str, stamp: Stamp) -> str:
    return f"vol/{disk}/map/{text(stamp)}"


def volume(name: str) -> str:
    return f"name/{name}.json"
