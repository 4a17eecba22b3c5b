"""Admission by what the host's disk has left, and quotas of real bytes."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.support.fake_volumes import FakeVolumes
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.services.pool import Pool
from pilot.host.services.sprites import Sprites
from pilot.host.services.wanted import NewSprite
from pilot.host.store import sprites
from pilot.host.vmm import Isolation
from pilot.host.vmm.shape import Shape
from pilot.ids import VolumeId
from pilot.volume.client import Status

KEPT = 64 << 20
QUOTA = 5 << 30


class Host(HostUnderTest):
    """One that keeps KEPT free, and has a quota."""

    quota_bytes = QUOTA
    keep_free_bytes = KEPT


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = Host(tmp_path)
    yield under_test
    under_test.close()


def _create(host: HostUnderTest, **body: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {host.token}"}
    return httpx.post(f"{host.url}/v1/sprites", json=body, headers=headers, timeout=60)


def _quota(host: HostUnderTest, name: str) -> int | None:
    return host.volumes.quotas.get(host.sprites.find(host.organisation.id, name).volume)


def test_without_room_no_sprite_is_made_and_nothing_is_left_of_it(host: HostUnderTest) -> None:
    host.volumes.state = Status(free_bytes=KEPT - 1)
    before = host.volumes.names()
    answer = _create(host, name="late")
    assert answer.status_code == 507
    assert answer.json()["error"] == (
        "create: the host's disk has 63 MiB left for sprites, of which 64 are kept for those that there are"
    )
    assert (host.sprites.every(), host.volumes.names()) == ([], before)
    host.volumes.state = Status(free_bytes=KEPT)
    assert _create(host, name="late").status_code == 201


def _fill(host: HostUnderTest, pool: Pool, wanted: int) -> None:
    """Until so many members are ready, and none is being made."""
    deadline = time.monotonic() + WAIT_S
    while len(pool) != wanted or host.engine.active():
        assert time.monotonic() < deadline
        pool.fill()
        time.sleep(0.02)


def test_a_pool_makes_no_member_either_but_gives_away_what_it_has(host: HostUnderTest) -> None:
    pool = Pool(host.host, host.engine, {Shape(Isolation.CONTAINER, host.host.variant): 1})
    before = host.volumes.names()
    host.volumes.state = Status(free_bytes=KEPT - 1)
    pool.fill()
    _end_all(host)
    assert (len(pool), host.volumes.names()) == (0, before)
    assert sprites.members(host.database) == []
    host.volumes.state = Status(free_bytes=KEPT)
    _fill(host, pool, 1)
    host.volumes.state = Status(free_bytes=KEPT - 1)
    host.sprites = Sprites(host.host, host.engine, pool)
    assert host.sprites.create(host.organisation.id, NewSprite("first")).result(WAIT_S).done
    _end_all(host)
    refused = host.sprites.create(host.organisation.id, NewSprite("second")).result(WAIT_S)
    assert (refused.done, refused.code) == (False, "no_room")
    pool.stop()


def _end_all(host: HostUnderTest) -> None:
    """Wait for all that was begun."""
    for run in host.engine.active():
        if (ended := host.engine.waiting_for(run.id)) is not None:
            ended.result(WAIT_S)


def test_a_volumed_without_room_is_told_as_such(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork(self: FakeVolumes, source: VolumeId, volume: VolumeId, checkpoint: object = None) -> None:
        raise errors.NoRoom(f"fork volume {volume}: No space left on device")

    monkeypatch.setattr(FakeVolumes, "fork", fork)
    assert _create(host, name="late").status_code == 507


def test_a_quota_is_the_hosts_or_the_sprites_own(host: HostUnderTest) -> None:
    assert _create(host, name="any").status_code == 201
    assert _create(host, name="own", config={"storage_gb": 7}).status_code == 201
    assert (_quota(host, "any"), _quota(host, "own")) == (QUOTA, 7 * 10**9)
