"""The host's clock is set, forwards and back, by years, under pilotd and all that it started: what is durable, what
comes before what, and what may be done does not follow it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import store
from tests.support.clock import YEAR_S, Clock
from tests.support.pilotd import Pilotd

from pilot.volume.client import VolumeClient

pytestmark = [
    pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space"),
    pytest.mark.slow,
]


@pytest.fixture
def clock(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(tmp_path)
    made.environment(monkeypatch)
    return made


@pytest.fixture
def pilotd(tmp_path: pathlib.Path, clock: Clock) -> Iterator[Pilotd]:
    daemon = Pilotd(tmp_path / "state")
    daemon.store = f"file://{tmp_path}/store"
    with daemon.running():
        yield daemon


def _get(pilotd: Pilotd, path: str) -> Any:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    return httpx.get(f"{pilotd.url}/v1{path}", headers=headers, timeout=60).json()


def _content(sprite: Any) -> list[str]:
    return bytes(sprite.run("cat", "/home/sprite/file", capture_output=True, check=True).stdout).decode().split()


def _checkpoint(sprite: Any, comment: str) -> None:
    assert [message.type for message in sprite.create_checkpoint(comment)][-1] == "complete"


def test_it_is_set_under_a_sprite_that_is_used(pilotd: Pilotd, clock: Clock) -> None:
    years = (10, -20, 0)
    said: list[str] = []
    with pilotd.client() as client:
        client.create_sprite("traveller")
    for number, year in enumerate(years, 1):
        clock.set(year * YEAR_S)
        if year == years[-1]:  # the next pilotd finds what the one of another time has left
            pilotd.stop()
            pilotd.start()
        with pilotd.client() as client:
            sprite = client.get_sprite("traveller")
            said.append(f"{year}y")
            sprite.run("sh", "-c", f"echo {year}y >> ~/file; sync", check=True)
            _checkpoint(sprite, f"in {year} years")
            assert _content(sprite) == said
            assert [point.id for point in sprite.list_checkpoints()][1] == f"v{number}", "the newest comes first"
    with pilotd.client() as client:
        sprite = client.get_sprite("traveller")
        for number in range(1, len(years) + 1):
            assert [message.type for message in sprite.restore_checkpoint(f"v{number}")][-1] == "complete"
            assert _content(sprite) == said[:number]
        # It is in the store as it is now, although the store has times of later and earlier ones.
        sprite.run("sh", "-c", "echo last >> ~/file; sync", check=True)
        _checkpoint(sprite, "last")
        volumes = VolumeClient(str(pilotd.state / "volumed.sock"))
        store.wait_for(lambda: [row.unsent_bytes for row in volumes.list() if row.attached] == [0])
        assert _get(pilotd, "/sprites/traveller")["status"] == "running"
        sprite.destroy()
        assert _get(pilotd, "/sprites")["sprites"] == []
