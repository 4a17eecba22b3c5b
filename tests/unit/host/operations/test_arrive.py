"""Sprites on disks of the store: what a create that fails leaves, and who may have which disk."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.fsm.outcome import Outcome
from pilot.host.operations import arrive, table
from pilot.host.operations.results import Reserved
from pilot.host.services.wanted import NewSprite, Source
from pilot.ids import CheckpointId, VolumeId

DISK = "0123456789abcdef"
URL = f"s3://bucket/prefix/vol/{DISK}"
VOLUME = VolumeId(f"sprite-{DISK}")


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    under_test.volumes.stored = {URL: [CheckpointId(name) for name in ("v1", "v7", "auto-run", "fork-x", "v0")]}
    yield under_test
    under_test.close()


def _create(host: HostUnderTest, name: str, url: str = URL) -> Outcome:
    return host.sprites.create(host.organisation.id, NewSprite(name, source=Source(url=url))).result(WAIT_S)


def test_its_checkpoints_come_with_it_and_the_next_is_a_new_one(host: HostUnderTest) -> None:
    assert _create(host, "back").done
    sprite = host.sprites.find(host.organisation.id, "back")
    assert sprite.volume == VOLUME
    found = {point.id: (point.number, point.is_auto) for point in host.sprites.checkpoints(sprite)}
    assert found == {"v1": (1, False), "v7": (7, False), "auto-run": (0, True)}
    assert host.sprites.make_checkpoint(sprite, "").result(WAIT_S).result(Reserved).id == "v8"


@pytest.mark.slow
def test_a_create_that_fails_leaves_the_disk_to_the_next(host: HostUnderTest) -> None:
    host.vmm.fail_start = table.ATTEMPTS
    assert not _create(host, "back").done
    assert VOLUME in host.volumes.names(), "to delete it would delete it from the store"
    assert VOLUME not in host.volumes.attached
    assert host.sprites.every() == []
    assert _create(host, "back").done


def test_a_disk_is_one_sprites(host: HostUnderTest) -> None:
    assert _create(host, "first").done
    second = _create(host, "second")
    assert (second.done, second.code) == (False, "conflict")
    assert VOLUME in host.volumes.attached, "the first has it still"
    assert [sprite.name for sprite in host.sprites.every()] == ["first"]


def test_what_is_not_in_the_store(host: HostUnderTest) -> None:
    assert _create(host, "x", URL.replace("0", "f")).code == "not_found"
    host.volumes.stored = None
    assert _create(host, "x").code == "invalid"
    assert host.sprites.every() == []


def test_a_base_is_not_a_sprites_disk(host: HostUnderTest) -> None:
    host.volumes.create(VOLUME, 1 << 30)
    host.volumes.seal(VOLUME)
    assert _create(host, "x").code == "invalid"
    assert VOLUME in host.volumes.names()


@pytest.mark.parametrize("url", ["", "vol/x", URL + "0", f"/vol/{DISK}", f"s3://b/{DISK}", URL + "\n", URL.upper()])
def test_what_is_no_url_of_a_disk(url: str) -> None:
    with pytest.raises(errors.PilotError, match="not the URL of a disk"):
        arrive.volume_of(url)
