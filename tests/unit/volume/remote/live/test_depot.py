"""What the death of a disk takes from the store: everything, unless a fork on any host may read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot import errors
from pilot.volume import names
from pilot.volume.names import Stamp
from pilot.volume.remote.live import depot
from pilot.volume.remote.log import hold
from pilot.volume.remote.objects import store

A, B = "a" * 16, "b" * 16
SIZE = 1 << 30


@pytest.fixture
def host(tmp_path: Path) -> depot.Depot:
    return depot.Depot(f"file://{tmp_path}/store")


def _born(host: depot.Depot, disk: str, *lineage: str, older: bool = False) -> str:
    """Its holder."""
    tie = (host.enlist if older else host.register)(f"volume-{disk}", disk, SIZE, lineage)
    host.objects.put(names.segment(disk, Stamp(1, 1)), b"what it holds")
    return tie.holder


def _forked(host: depot.Depot) -> None:
    """B from A, by another host."""
    other = depot.Depot(host.url)
    other.mark_forked(A)
    _born(other, B, A)


def _keys(host: depot.Depot, disk: str) -> list[str]:
    return [entry.key for entry in host.objects.list(f"vol/{disk}/")]


def test_a_disk_that_was_never_forked_goes_at_once(host: depot.Depot) -> None:
    holder = _born(host, A)
    host.erase(A, holder)
    assert _keys(host, A) == []


def test_a_disk_that_was_forked_is_left_to_garbage_collection(host: depot.Depot) -> None:
    """Also when another host made the fork, of which this one knows nothing."""
    holder = _born(host, A)
    _forked(host)
    before = _keys(host, A)
    host.erase(A, holder)
    assert _keys(host, A) == before


def test_a_disk_that_may_have_been_forked_before_it_came_to_the_store_is_left(host: depot.Depot) -> None:
    holder = _born(host, A, older=True)
    host.erase(A, holder)
    assert len(_keys(host, A)) == 2


def test_a_head_that_does_not_say_is_of_a_disk_that_was_forked(host: depot.Depot) -> None:
    holder = _born(host, A)
    stored = host.objects.get(names.head(A))
    host.objects.swap(names.head(A), stored.data.replace(b'"forked"', b'"unknown"'), stored.version)
    host.erase(A, holder)
    assert len(_keys(host, A)) == 2


def test_a_fork_that_is_made_while_its_source_is_erased_keeps_it(
    host: depot.Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at HEAD and the first deletion."""
    holder = _born(host, A)
    read = hold.read_head

    def read_then_fork(objects: store.Store, disk: str) -> object:
        found = read(objects, disk)
        monkeypatch.setattr(hold, "read_head", read)
        _forked(host)
        return found

    monkeypatch.setattr(hold, "read_head", read_then_fork)
    host.erase(A, holder)
    assert len(_keys(host, A)) == 2


def test_what_is_being_erased_is_nobodys_any_more(host: depot.Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = _born(host, A)

    def crash(key: str) -> None:
        raise errors.PeerError(f"delete {key}: silent")

    monkeypatch.setattr(host.objects, "delete", crash)
    host.erase(A, holder)
    assert len(_keys(host, A)) == 2
    assert not host.exists(A)
    with pytest.raises(errors.NotFound):
        host.mark_forked(A)
    with pytest.raises(errors.NotFound):
        hold.Hold.take(host.objects, A, "another")


def test_what_was_erased_is_not_forked_by_who_still_has_a_copy(host: depot.Depot) -> None:
    host.erase(A, _born(host, A))
    with pytest.raises(errors.NotFound):
        depot.Depot(host.url).mark_forked(A)


def test_a_volume_that_has_another_name_here_loses_its_name_in_the_store(host: depot.Depot) -> None:
    """Whoever adopts a disk by its URL may call it anything."""
    holder = _born(host, A)
    host.unname(A, holder)
    assert [entry.key for entry in host.objects.list("name/")] == []
    assert _keys(host, A) != []


def test_a_name_that_is_another_disks_by_now_stays(host: depot.Depot) -> None:
    holder = _born(host, A)
    host.objects.delete(names.volume(f"volume-{A}"))
    host.objects.create(names.volume(f"volume-{A}"), b'{"disk": "%s"}' % B.encode())
    host.unname(A, holder)
    assert len(list(host.objects.list("name/"))) == 1
