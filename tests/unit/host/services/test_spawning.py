"""What a sprite asks of its host by itself is refused in words where it cannot be, and has bounds."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot.host.services import ending, own_checkpoints
from pilot.host.services.fly_volumes import Wanted
from pilot.host.services.spawning import Spawning
from pilot.host.services.sprites import MOST_COMMENT
from pilot.host.services.wanted import NewSprite
from pilot.host.store.sprites import Spawn, Sprite
from pilot.wire import faults, outward


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    assert under_test.sprites.create(under_test.organisation.id, NewSprite("web")).result(WAIT_S).done
    yield under_test
    under_test.close()


def _web(host: HostUnderTest) -> Sprite:
    return host.sprites.find(host.organisation.id, "web")


def test_variables_that_none_can_be_are_refused(host: HostUnderTest) -> None:
    spawning = Spawning(host.host, host.sprites)
    host.sprites.allow_spawn(_web(host), Spawn(1))
    for environment in ({"A=B": "x"}, {"": "x"}, {"A": "\0"}):
        with pytest.raises(faults.InvalidRequest, match="cannot be the name of a variable"):
            spawning.begin(_web(host), outward.NewChild(environment=environment))
    assert spawning.children(_web(host)) == []


def test_a_comment_has_a_bound(host: HostUnderTest) -> None:
    with pytest.raises(faults.InvalidRequest, match="comment: 4097 characters"):
        host.sprites.make_checkpoint(_web(host), "x" * (MOST_COMMENT + 1))
    assert host.sprites.make_checkpoint(_web(host), "x" * MOST_COMMENT).result(WAIT_S).done


def test_from_inside_there_are_so_many_checkpoints_and_its_owner_makes_more(host: HostUnderTest) -> None:
    for _ in range(2):
        assert own_checkpoints.make(host.sprites, _web(host), "", None, most=2).result(WAIT_S).done
    with pytest.raises(faults.Exhausted, match="sprite web has 2 checkpoints, and makes no more by itself"):
        own_checkpoints.make(host.sprites, _web(host), "", None, most=2)
    assert host.sprites.make_checkpoint(_web(host), "").result(WAIT_S).done
    for each in host.sprites.checkpoints(_web(host))[:2]:
        assert host.sprites.delete_checkpoint(_web(host), each.id).result(WAIT_S).done
    assert own_checkpoints.make(host.sprites, _web(host), "", None, most=2).result(WAIT_S).done


def test_who_counted_while_the_last_one_was_made_makes_no_more(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several that ask at once: each has counted, and then another one's is there first."""
    for _ in range(2):
        assert host.sprites.make_checkpoint(_web(host), "").result(WAIT_S).done
    with monkeypatch.context() as patched:
        patched.setattr(host.sprites, "checkpoints", lambda _: [])
        outcome = own_checkpoints.make(host.sprites, _web(host), "", None, most=2).result(WAIT_S)
    assert isinstance(ending.error_of(outcome), faults.Exhausted)
    assert len(host.sprites.checkpoints(_web(host))) == 2


def test_nor_snapshots_of_a_volume(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = host.fly.volumes
    app = host.fly.create_app(host.organisation.id, "app", "default")
    id, made = volumes.create(app, Wanted("data", "local", 1))
    assert made.result(WAIT_S).done
    row = volumes.find(app, id)
    assert own_checkpoints.snapshot(volumes, row, most=1)[1].result(WAIT_S).done
    with pytest.raises(faults.Exhausted, match="has 1 snapshots, and makes no more by itself"):
        own_checkpoints.snapshot(volumes, row, most=1)
    with monkeypatch.context() as patched:
        patched.setattr(volumes, "snapshots", lambda _: [])
        outcome = own_checkpoints.snapshot(volumes, row, most=1)[1].result(WAIT_S)
    assert isinstance(ending.error_of(outcome), faults.Exhausted)
    assert len(volumes.snapshots(row)) == 1
    assert volumes.snapshot(row)[1].result(WAIT_S).done, "its owner takes more"
