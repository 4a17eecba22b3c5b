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


class _Group:
    """The connections of one peer."""

    __slots__ = ("counts", "name", "strangers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts = dict.fromkeys(Kind, 0)
        self.strangers: dict[Guest, int] = {}  # oldest first: bytes of their heads


class _Place:
    """Of one connection."""

    __slots__ = ("group", "kind")

    def __init__(self, group: _Group, kind: Kind) -> None:
        self.group = group
        self.kind = kind


class Crowd:
    """Who is there. Of one event loop. What is done with each request finds its place and its group at once."""

    def __init__(self, most: Mapping[Kind, int]) -> None:
        self._most = most
        self._places: dict[Guest, _Place] = {}
        self._groups: dict[str, _Group] = {}
        self._counts = dict.fromkeys(Kind, 0)
        self._head_bytes = 0

    def count(self, kind: Kind) -> int:
        """As many as there are."""
        return self._counts[kind]

    def arrive(self, guest: Guest) -> None:
        """A stranger has come; another one ends when there were as many as may be."""
        self._make_room()
        name = _group(guest.peer)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group(name)
        self._places[guest] = _Place(group, Kind.STRANGER)
        self._count(group, Kind.STRANGER, 1)
        group.strangers[guest] = 0

    def become(self, guest: Guest, kind: Kind) -> None:
        """`Unavailable` when there are as many of `kind` as there may be, of everybody's or of its peer's.

        A stranger again: as one that has just come.
        """
        place = self._places.get(guest)
        if place is None or place.kind is kind:
            return
        if kind is Kind.STRANGER:
            self._make_room()
        else:
            self._check_room(place.group, kind)
        self._forget(guest, place)
        place.kind = kind
        self._count(place.group, kind, 1)
        if kind is Kind.STRANGER:
            place.group.strangers[guest] = 0

    def weigh(self, guest: Guest, head_bytes: int) -> None:
        """So much of its next head has come."""
        place = self._places.get(guest)
        if place is None or place.kind is not Kind.STRANGER:
            return
        strangers = place.group.strangers
        self._head_bytes += head_bytes - strangers[guest]
        strangers[guest] = head_bytes
        if self._head_bytes > HEAD_BYTES:
            weights = {each: weight for group in self._groups.values() for each, weight in group.strangers.items()}
            self._end(max(weights, key=weights.__getitem__))

    def leave(self, guest: Guest) -> None:
        """It is gone; also when it was before."""
        place = self._places.pop(guest, None)
        if place is None:
            return
        self._forget(guest, place)
        if not any(place.group.counts.values()):
            del self._groups[place.group.name]

    def _make_room(self) -> None:
        """For one more stranger."""
        if self._counts[Kind.STRANGER] >= self._most[Kind.STRANGER]:
            group = max(self._groups.values(), key=lambda each: len(each.strangers))
            self._end(next(iter(group.strangers)))

    def _check_room(self, group: _Group, kind: Kind) -> None:
        most = self._most[kind]
        if self._counts[kind] >= most:
            raise faults.Unavailable(f"{most} {kind.value} are open already")
        if group.counts[kind] >= max(1, int(most * PEER_SHARE)):
            raise faults.Unavailable(f"{kind.value}: your address holds most of the {most} that there can be")

    def _count(self, group: _Group, kind: Kind, change: int) -> None:
        self._counts[kind] += change
        group.counts[kind] += change

    def _forget(self, guest: Guest, place: _Place) -> None:
        """It is no longer of its kind."""
        self._count(place.group, place.kind, -1)
        if place.kind is Kind.STRANGER:
            self._head_bytes -= place.group.strangers.pop(guest)

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
