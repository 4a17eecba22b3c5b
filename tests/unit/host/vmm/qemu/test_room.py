"""Room for memories on the host's disk."""

from __future__ import annotations

from pilot.host.vmm.qemu.room import Room


def test_what_is_kept_is_for_others() -> None:
    room = Room(lambda: 100, 40)
    with room.promised(60) as fits, room.promised(1) as more:
        assert (fits, more) == (True, False)
    with room.promised(61) as fits:
        assert not fits


def test_what_was_promised_is_given_back() -> None:
    room = Room(lambda: 100, 0)
    for _ in range(2):
        with room.promised(70) as one, room.promised(70) as two, room.promised(30) as three:
            assert (one, two, three) == (True, False, True)
