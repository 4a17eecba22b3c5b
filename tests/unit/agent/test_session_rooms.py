"""Users' sessions and operators' have rooms of their own, and what is being started is counted with what runs."""

from __future__ import annotations

import pytest

from pilot.agent.containers import naming
from pilot.agent.session_rooms import MOST, MOST_BESIDE, SessionRooms
from pilot.wire import faults


@pytest.mark.parametrize(
    ("full", "most", "free"), [("world", MOST, naming.MACHINE), (naming.MACHINE, MOST_BESIDE, "world")]
)
def test_where_one_is_full_there_is_room_in_the_other(full: str, most: int, free: str) -> None:
    rooms = SessionRooms()
    with pytest.raises(faults.Exhausted, match=f"{most} are running already"):
        rooms.enter(full, [full] * most)
    rooms.enter(free, [full] * most)


def test_containers_share_the_users() -> None:
    with pytest.raises(faults.Exhausted):
        SessionRooms().enter("web", ["world"] * (MOST - 1) + ["web"])


def test_what_is_being_started_is_counted_until_it_runs() -> None:
    rooms = SessionRooms()
    rooms.enter("world", ["world"] * (MOST - 1))
    with pytest.raises(faults.Exhausted):
        rooms.enter("world", ["world"] * (MOST - 1))
    rooms.leave("world")
    rooms.enter("world", ["world"] * (MOST - 1))
