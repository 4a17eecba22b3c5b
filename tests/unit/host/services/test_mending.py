"""What became read-only on a full disk is started anew when there is room, once, and says why; nothing else is."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.services import sprites
from pilot.host.services.mending import GUESTS_S, PAUSE_S, Mending
from pilot.host.services.wanted import NewSprite
from pilot.host.store import events
from pilot.host.store.sprites import Sprite
from pilot.ids import VolumeId
from pilot.volume.client import Status, Volume

ROOM = 1 << 20


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    for name in ("guilty", "other"):
        outcome = under_test.sprites.create(under_test.organisation.id, NewSprite(name)).result(WAIT_S)
        assert outcome.done, outcome.error
    yield under_test
    under_test.close()


def _find(host: HostUnderTest, name: str) -> Sprite:
    return host.sprites.find(host.organisation.id, name)


def _has_met_no_room(host: HostUnderTest, name: str, left_bytes: int) -> None:
    host.volumes.state = Status(read_only={_find(host, name).volume: left_bytes})


def test_it_is_started_anew_when_there_is_room_and_says_why(host: HostUnderTest) -> None:
    mending = Mending(host.sprites, ROOM)
    assert mending.look(0) == []
    _has_met_no_room(host, "guilty", ROOM - 1)
    assert mending.look(1) == [], "it would meet no room again"
    _has_met_no_room(host, "guilty", ROOM)
    guilty = _find(host, "guilty")
    assert mending.look(2) == ["guilty"]
    assert host.sprites.restart(guilty).result(WAIT_S).done  # joins it
    told = [event for event in events.since(host.database, 0) if event.kind == "sprite.read_only"]
    assert [(event.sprite, event.detail) for event in told] == [("guilty", {"why": sprites.WHY_READ_ONLY})]
    assert host.sprites.status(guilty) == "running"
    assert guilty.volume in host.volumes.attached


def test_why_says_that_its_disk_takes_no_writes(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.sprites.why(_find(host, "guilty")).disk_read_only is None
    _has_met_no_room(host, "guilty", 3 << 20)
    told = host.sprites.why(_find(host, "guilty")).disk_read_only
    assert told is not None
    assert (told.startswith("its filesystem takes no writes"), told.endswith(" 3 MiB")) == (True, True)
    assert host.sprites.why(_find(host, "other")).disk_read_only is None
    _has_met_no_room(host, "guilty", -1)
    assert (host.sprites.why(_find(host, "guilty")).disk_read_only or "").endswith(" 0 MiB")
    assert host.sprites.stop(_find(host, "guilty")).result(WAIT_S).done
    assert host.sprites.why(_find(host, "guilty")).disk_read_only is None, "it is mounted anew by its next start"

    monkeypatch.setattr(host.vmm, "mounts_in_guest", True)
    host.machine("other").read_only = True
    assert host.sprites.why(_find(host, "other")).disk_read_only is not None


def test_who_fills_it_again_at_once_is_not_started_anew_for_ever(host: HostUnderTest) -> None:
    mending = Mending(host.sprites, ROOM)
    _has_met_no_room(host, "guilty", ROOM)
    assert mending.look(0) == ["guilty"]
    assert host.sprites.restart(_find(host, "guilty")).result(WAIT_S).done
    assert mending.look(PAUSE_S - 1) == []
    assert mending.look(PAUSE_S) == ["guilty"]


def test_one_at_rest_is_left_at_rest(host: HostUnderTest) -> None:
    assert host.sprites.stop(_find(host, "guilty")).result(WAIT_S).done
    _has_met_no_room(host, "guilty", ROOM)
    assert Mending(host.sprites, ROOM).look(0) == []


@pytest.mark.parametrize("left_bytes", [ROOM - 1, ROOM])
def test_one_that_a_guest_has_mounted_says_so_itself(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch, left_bytes: int
) -> None:
    monkeypatch.setattr(host.vmm, "mounts_in_guest", True)
    host.machine("guilty").read_only = True
    host.volumes.state = Status(free_bytes=left_bytes)
    mending = Mending(host.sprites, ROOM)
    assert mending.look(0) == (["guilty"] if left_bytes == ROOM else [])
    assert host.sprites.restart(_find(host, "guilty")).result(WAIT_S).done
    told = [event.sprite for event in events.since(host.database, 0) if event.kind == "sprite.read_only"]
    assert told == (["guilty"] if left_bytes == ROOM else [])


def test_a_disk_that_cannot_be_looked_at_keeps_no_other_from_being_mended(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.vmm, "mounts_in_guest", True)
    host.machine("guilty").read_only = True
    _has_met_no_room(host, "other", ROOM)

    def stat(volume: VolumeId) -> Volume:
        raise errors.HostError(f"volume {volume} cannot be opened")

    monkeypatch.setattr(host.volumes, "stat", stat)
    monkeypatch.setattr(host.sprites, "mend", lambda _: None)
    assert Mending(host.sprites, ROOM).look(0) == ["other"]


def test_guests_are_asked_now_and_then_and_not_when_they_stand_still(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.vmm, "mounts_in_guest", True)
    assert host.sprites.sleep(_find(host, "other"), "asked for").result(WAIT_S).done
    before = {name: len(host.machine(name).requests) for name in ("guilty", "other")}
    mending = Mending(host.sprites, ROOM)
    for now_s in (0.0, 1.0, GUESTS_S - 1):
        assert mending.look(now_s) == []
    assert len(host.machine("guilty").requests) == before["guilty"] + 1
    assert mending.look(GUESTS_S) == []
    assert len(host.machine("guilty").requests) == before["guilty"] + 2
    assert len(host.machine("other").requests) == before["other"]


def test_one_of_a_container_is_not_asked(host: HostUnderTest) -> None:
    host.machine("guilty").read_only = True
    before = len(host.machine("guilty").requests)
    assert Mending(host.sprites, ROOM).look(0) == []
    assert len(host.machine("guilty").requests) == before
