"""Who may stay: so many of each kind, so many of each peer, and a place for who comes beside a crowd."""

from __future__ import annotations

import dataclasses

import pytest

from pilot.host.relay import crowd
from pilot.host.relay.crowd import Crowd, Kind
from pilot.wire import faults

MOST = {Kind.STRANGER: 4, Kind.OWN: 2, Kind.WATCH: 4, Kind.RELAYED: 4}


@dataclasses.dataclass(eq=False)
class Guest:
    """A connection of the tests'."""

    peer: str
    is_ended: bool = False

    def make_room(self) -> None:
        self.is_ended = True


def arrived(there: Crowd, *peers: str) -> list[Guest]:
    guests = [Guest(peer) for peer in peers]
    for guest in guests:
        there.arrive(guest)
    return guests


def became(there: Crowd, kind: Kind, *peers: str) -> list[Guest]:
    guests = arrived(there, *peers)
    for guest in guests:
        there.become(guest, kind)
    return guests


@pytest.mark.parametrize("descriptors", [64, 1024, 20_000, 524_288])
def test_what_may_be_open_leaves_pilotd_its_own(descriptors: int) -> None:
    most = crowd.limits(descriptors)
    assert min(most.values()) >= 2
    if descriptors >= 1024:
        # Each may need another one to a machine; and those that are accepted at once wait for their place.
        assert 2 * sum(most.values()) + crowd.RESERVE <= descriptors


def test_one_stranger_too_many_ends_the_oldest_of_the_peer_that_has_most() -> None:
    there = Crowd(MOST)
    first, *others = arrived(there, "192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2")
    (late,) = arrived(there, "192.0.2.3")
    assert [guest.is_ended for guest in (first, *others, late)] == [False, True, False, False, False]
    assert there.count(Kind.STRANGER) == 4


def test_who_has_all_addresses_of_a_network_is_one_peer() -> None:
    there = Crowd(MOST)
    single, *many = arrived(there, "2001:db8:1::1", "2001:db8:2::1", "2001:db8:2::2", "2001:db8:2::3")
    arrived(there, "::ffff:192.0.2.1")
    assert (single.is_ended, many[0].is_ended) == (False, True)


def test_who_is_permitted_is_ended_by_no_stranger() -> None:
    there = Crowd(MOST)
    (permitted,) = became(there, Kind.RELAYED, "192.0.2.1")
    arrived(there, *["192.0.2.1"] * 20)
    assert not permitted.is_ended


def test_of_each_kind_there_are_so_many_and_of_a_peer_fewer() -> None:
    there = Crowd(MOST)
    watches = became(there, Kind.WATCH, *["192.0.2.1"] * 3)
    with pytest.raises(faults.Unavailable, match="your address holds most"):
        became(there, Kind.WATCH, "192.0.2.1")
    became(there, Kind.WATCH, "192.0.2.2")
    with pytest.raises(faults.Unavailable, match="4 watches are open"):
        became(there, Kind.WATCH, "192.0.2.3")
    became(there, Kind.OWN, "192.0.2.1")  # another kind has its own places
    there.leave(watches[0])
    became(there, Kind.WATCH, "192.0.2.3")


def test_a_stranger_again_is_the_newest_of_them() -> None:
    there = Crowd(MOST)
    (served,) = became(there, Kind.OWN, "192.0.2.1")
    waiting = arrived(there, *["192.0.2.1"] * 4)
    there.become(served, Kind.STRANGER)
    assert (served.is_ended, waiting[0].is_ended, there.count(Kind.OWN)) == (False, True, 0)


def test_heads_of_strangers_have_one_bound_and_the_longest_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "HEAD_BYTES", 100)
    there = Crowd(MOST)
    long, short = arrived(there, "192.0.2.1", "192.0.2.2")
    there.weigh(long, 90)
    there.weigh(short, 10)
    assert not long.is_ended
    there.weigh(short, 20)
    assert (long.is_ended, short.is_ended) == (True, False)
    there.weigh(long, 200)  # it has gone: nothing is counted
    there.weigh(short, 100)
    assert not short.is_ended


def test_who_leaves_is_forgotten() -> None:
    there = Crowd(MOST)
    for guest in [*arrived(there, "192.0.2.1", "2001:db8::1", ""), *became(there, Kind.WATCH, "192.0.2.1")]:
        there.leave(guest)
        there.leave(guest)
        there.become(guest, Kind.OWN)
    assert {there.count(kind) for kind in Kind} == {0}
    assert (there._groups, there._places, there._head_bytes) == ({}, {}, 0)
