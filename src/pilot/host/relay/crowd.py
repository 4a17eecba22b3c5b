"""Who holds pilotd's connections: so many of each kind at most, so that no client takes what others, or pilotd, need.

    descriptors of the process
    ├ a reserve      pilotd's own: the store, volumed, a machine that is being started
    └ the rest, halved, because a connection may need another one, to a machine
        ├ stranger   nothing of it is permitted: silent, in the middle of a head, between two requests, being refused
        ├ own        a call that pilotd answers itself
        ├ watch      what changes, for as long as somebody reads it
        ├ relayed    a call that a machine answers, or what was upgraded
        └ visitor    a request to the address of a sprite, which may be everybody's

A stranger too many ends another one: the oldest of the peer that has most, so that who comes once gets in beside who
comes a thousand times. What strangers have sent of their heads has a bound of its own; beyond it the longest ends.
Of the other kinds one too many is refused, and one more of a peer that has PEER_SHARE of a kind already.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from ...wire import faults


class Kind(enum.Enum):
    """What a connection is at the moment."""

    STRANGER = "strangers"
    OWN = "calls"
    WATCH = "watches"
    RELAYED = "connections to sprites"
    VISITOR = "requests to addresses of sprites"

    # By identity, as they are compared: an Enum's own is asked of its name, in Python, and many times a request.
    __hash__ = object.__hash__


# Parts of 16 of all connections.
_PARTS: Mapping[Kind, int] = {
    Kind.STRANGER: 4, Kind.OWN: 2, Kind.WATCH: 2, Kind.RELAYED: 4, Kind.VISITOR: 4,
}  # fmt: skip
RESERVE, RESERVE_PART = 256, 8
MOST, LEAST = 16384, 16
PEER_SHARE = 3 / 4
HEAD_BYTES = 64 << 20


def limits(descriptors: int) -> dict[Kind, int]:
    """How many of each kind a process may hold that has so many descriptors."""
    reserve = max(RESERVE, descriptors // RESERVE_PART)
    connections = max(LEAST, min((descriptors - reserve) // 2, MOST))
    return {kind: connections * part // 16 for kind, part in _PARTS.items()}


class Guest(Protocol):
    """A connection, as the crowd sees it."""

    peer: str

    def make_room(self) -> None:
        """Others have no place: end now."""


class Crowd:
    """Who is there. Of one event loop."""

    def __init__(self, most: Mapping[Kind, int]) -> None:
        self._most = most
        self._kinds: dict[Guest, Kind] = {}
        self._strangers: dict[str, dict[Guest, int]] = {}  # by group, oldest first: bytes of their heads
        self._counts: Counter[Kind] = Counter()
        self._of_group: Counter[tuple[str, Kind]] = Counter()
        self._head_bytes = 0

    def count(self, kind: Kind) -> int:
        """As many as there are."""
        return self._counts[kind]

    def arrive(self, guest: Guest) -> None:
        """A stranger has come; another one ends when there were as many as may be."""
        if self._counts[Kind.STRANGER] >= self._most[Kind.STRANGER]:
            group = max(self._strangers.values(), key=len)
            self._end(next(iter(group)))
        self._add(guest, Kind.STRANGER)

    def become(self, guest: Guest, kind: Kind) -> None:
        """`Unavailable` when there are as many of `kind` as there may be, of everybody's or of its peer's.

        A stranger again: as one that has just come.
        """
        if guest not in self._kinds or self._kinds[guest] is kind:
            return
        if kind is Kind.STRANGER:
            self.leave(guest)
            self.arrive(guest)
            return
        most = self._most[kind]
        if self._counts[kind] >= most:
            raise faults.Unavailable(f"{most} {kind.value} are open already")
        if self._of_group[_group(guest.peer), kind] >= max(1, int(most * PEER_SHARE)):
            raise faults.Unavailable(f"{kind.value}: your address holds most of the {most} that there can be")
        self.leave(guest)
        self._add(guest, kind)

    def weigh(self, guest: Guest, head_bytes: int) -> None:
        """So much of its next head has come."""
        group = self._strangers.get(_group(guest.peer), {})
        if guest not in group:
            return
        self._head_bytes += head_bytes - group[guest]
        group[guest] = head_bytes
        if self._head_bytes > HEAD_BYTES:
            weights = {each: weight for members in self._strangers.values() for each, weight in members.items()}
            self._end(max(weights, key=weights.__getitem__))

    def leave(self, guest: Guest) -> None:
        """It is gone; also when it was before."""
        kind = self._kinds.pop(guest, None)
        if kind is None:
            return
        group = _group(guest.peer)
        self._counts[kind] -= 1
        self._of_group[group, kind] -= 1
        if not self._of_group[group, kind]:
            del self._of_group[group, kind]
        if kind is Kind.STRANGER:
            self._head_bytes -= self._strangers[group].pop(guest)
            if not self._strangers[group]:
                del self._strangers[group]

    def _add(self, guest: Guest, kind: Kind) -> None:
        group = _group(guest.peer)
        self._kinds[guest] = kind
        self._counts[kind] += 1
        self._of_group[group, kind] += 1
        if kind is Kind.STRANGER:
            self._strangers.setdefault(group, {})[guest] = 0

    def _end(self, guest: Guest) -> None:
        self.leave(guest)
        guest.make_room()


@functools.lru_cache(4096)
def _group(peer: str) -> str:
    """Whose it is: an IPv4 address, or an IPv6 network, of which a client has all addresses."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer  # no address of the Internet's: a local socket
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(int(address) >> 64)
    return str(address)
