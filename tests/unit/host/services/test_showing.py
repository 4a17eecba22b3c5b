"""Forks of checkpoints that machines are shown: none outlives its machine, its checkpoint, or who looks at it."""

from __future__ import annotations

import pathlib
import types
from collections.abc import Iterator

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.services import showing
from pilot.host.services.showing import Showing
from pilot.host.services.wanted import NewSprite
from pilot.host.store import tokens
from pilot.host.store.sprites import Sprite
from pilot.ids import VolumeId
from pilot.wire import faults, outward


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostUnderTest]:
    monkeypatch.setattr(showing, "pilot_api", types.SimpleNamespace(send_descriptor=lambda *_: None))
    under_test = HostUnderTest(tmp_path)
    assert under_test.sprites.create(under_test.organisation.id, NewSprite("web")).result(WAIT_S).done
    for _ in range(7):
        assert under_test.sprites.make_checkpoint(_web(under_test), "").result(WAIT_S).done
    yield under_test
    under_test.close()


def _web(host: HostUnderTest) -> Sprite:
    return host.sprites.find(host.organisation.id, "web")


def _shown(host: HostUnderTest) -> list[str]:
    return [name.rpartition("-")[2] for name in host.volumes.names() if name.startswith(showing.PREFIX)]


def test_only_the_newest_are_shown_and_go_when_they_are_let_go_of(host: HostUnderTest) -> None:
    made, web = Showing(host.host), _web(host)
    assert web.machine is not None
    for old in ("v1", "v2", "auto-1", "current", "../x"):
        with pytest.raises(errors.NotFound, match="none of the newest 5"):
            made.show(web, old)
    for number in range(3, 8):
        assert made.show(web, f"v{number}") == f"checkpoint-v{number}"
    assert made.show(web, "v3") == "checkpoint-v3", "again, for an agent that has lost it"
    assert _shown(host) == ["v3", "v4", "v5", "v6", "v7"]
    made.sweep()
    assert len(_shown(host)) == 5, "the machine runs"
    for _ in range(2):
        made.hide(web.machine, "v5")
    assert _shown(host) == ["v3", "v4", "v6", "v7"]


def test_a_checkpoint_that_is_deleted_is_not_kept_by_who_reads_it(host: HostUnderTest) -> None:
    made, web = Showing(host.host), _web(host)
    made.show(web, "v6")
    made.show(web, "v7")
    assert host.sprites.delete_checkpoint(web, "v7").result(WAIT_S).done
    made.sweep()
    assert _shown(host) == ["v6"]


def test_with_the_machine_all_go_and_a_new_pilotd_knows_them(host: HostUnderTest) -> None:
    web = _web(host)
    Showing(host.host).show(web, "v7")
    host.volumes.fork(web.volume, VolumeId(f"{showing.PREFIX}0123456789abcd-v1"))
    another = Showing(host.host)
    another.sweep()
    assert _shown(host) == ["v7"]
    assert host.sprites.stop(web).result(WAIT_S).done
    another.sweep()
    assert _shown(host) == []


def test_there_are_so_many_on_a_host(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "MOST", 1)
    made, web = Showing(host.host), _web(host)
    made.show(web, "v7")
    with pytest.raises(faults.Exhausted, match="as many checkpoints are shown as may be"):
        made.show(web, "v6")
    assert _shown(host) == ["v7"]


def test_what_fails_leaves_nothing(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise errors.PeerError("no answer")

    monkeypatch.setattr(showing, "pilot_api", types.SimpleNamespace(send_descriptor=refuse))
    with pytest.raises(errors.PeerError):
        Showing(host.host).show(_web(host), "v7")
    assert _shown(host) == []
    assert outward.MOST_SHOWN == 5


def test_a_pilotd_that_ends_does_so_without_volumed(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else is to end is ended, and the next pilotd looks at what is left."""
    Showing(host.host).show(_web(host), "v7")
    assert host.sprites.stop(_web(host)).result(WAIT_S).done

    def away() -> None:
        raise errors.PeerError("reach volumed: connection refused")

    with monkeypatch.context() as patched:
        patched.setattr(host.volumes, "list", away)
        showing.clear(host.host)
    assert _shown(host) == ["v7"]
    showing.clear(host.host)
    assert _shown(host) == []


def test_no_organisation_takes_all_the_room(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes first: there is room left for the next one, also for what a pilotd finds that begins."""
    monkeypatch.setattr(showing, "MOST", 6)
    theirs = tokens.ensure_organisation(host.database, "theirs")
    assert host.sprites.create(theirs.id, NewSprite("other")).result(WAIT_S).done
    other = host.sprites.find(theirs.id, "other")
    for _ in range(5):
        assert host.sprites.make_checkpoint(other, "").result(WAIT_S).done
    made, web = Showing(host.host), _web(host)
    for point in ("v3", "v4", "v5"):
        made.show(web, point)
    for each in (made, Showing(host.host)):
        with pytest.raises(faults.Exhausted):
            each.show(web, "v6")
    again = Showing(host.host)
    again.show(web, "v5")  # once more, for an agent that has lost it
    again.show(other, "v1")
    again.show(other, "v2")
    with pytest.raises(faults.Exhausted):
        again.show(other, "v3")
    assert web.machine is not None
    again.hide(web.machine, "v3")
    again.hide(web.machine, "v4")
    again.show(other, "v3")
    assert len(_shown(host)) == 4
