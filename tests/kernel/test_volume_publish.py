"""Volumes that are older than their host's tie to a store come into it by themselves, or say why not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import store as stores
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import VolumeId
from pilot.volume.client import Volume

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns")

SIZE = 1 << 30
A, B, C = VolumeId("a"), VolumeId("b"), VolumeId("c")
Host = Callable[..., Volumed]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Volumeds by the name of their state directory; one that is started again gets the new options."""
    made: dict[str, Volumed] = {}

    def start(name: str, *options: str, crash_at: str | None = None) -> Volumed:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        if name in made:
            made[name].stop()
        made[name] = Volumed(directory, *options)
        made[name].start(crash_at)
        return made[name]

    yield start
    for one in made.values():
        one.stop()


def _fill(volumed: Volumed, volume: VolumeId, tmp_path: Path, name: str) -> bytes:
    content = os.urandom(2 << 20)
    with volumed.mounted(volume, tmp_path / "m") as root:
        (root / name).write_bytes(content)
    return content


def _read(volumed: Volumed, volume: VolumeId, tmp_path: Path, name: str) -> bytes:
    with volumed.mounted(volume, tmp_path / "m") as root:
        return (root / name).read_bytes()


def _durable(volumed: Volumed, volume: VolumeId) -> Volume:
    def look() -> Volume | None:
        found = volumed.client.stat(volume)
        return found if found.durable_at is not None and found.not_durable is None else None

    return stores.wait_for(look)


def test_older_volumes_come_into_the_store_by_themselves(host: Host, tmp_path: Path, url: str) -> None:
    """A volume with a checkpoint, a fork of it, and a fork of a base that was deleted; nobody attaches them."""
    one = host("one")
    one.client.create(A, SIZE)
    first = _fill(one, A, tmp_path, "first")
    point = one.client.checkpoint(A)
    one.client.fork(A, B)
    own = _fill(one, B, tmp_path, "own")
    one.client.create(VolumeId("base"), SIZE)
    base = _fill(one, VolumeId("base"), tmp_path, "base")
    one.client.fork(VolumeId("base"), C)
    one.client.delete(VolumeId("base"))
    assert one.client.stat(A).not_durable is None  # there is no store that it could be in
    one = host("one", "--store", url)
    for volume in (A, B, C):
        _durable(one, volume)
    two = host("two", "--store", url)
    for volume in (A, B, C):
        two.client.adopt(volume)
    assert _read(two, A, tmp_path, "first") == first
    assert [row.id for row in two.client.checkpoints(A)] == [point.id]
    assert (_read(two, B, tmp_path, "first"), _read(two, B, tmp_path, "own")) == (first, own)
    assert _read(two, C, tmp_path, "base") == base


def test_one_that_is_attached_follows_when_it_is_let_go(host: Host, tmp_path: Path, url: str) -> None:
    one = host("one")
    one.client.create(A, SIZE)
    content = _fill(one, A, tmp_path, "file")
    one.client.fork(A, B)
    with one.mounted(A, tmp_path / "n"):
        one.kill()
        again = Volumed(one.directory, "--store", url)
        again.start()
        try:
            stores.wait_for(lambda: "is attached since" in (again.client.stat(A).not_durable or ""))
            stores.wait_for(lambda: "is attached since" in (again.client.stat(B).not_durable or ""))
            assert again.client.stat(A).url is None
        except BaseException:
            again.stop()
            raise
    _durable(again, A)
    stores.wait_for(lambda: "is attached since" in (again.client.stat(B).not_durable or "") or again.client.stat(B).url)
    with again.mounted(B, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == content
    _durable(again, B)
    again.stop()


def test_a_name_that_is_taken_is_told_and_keeps_nobody_from_working(host: Host, tmp_path: Path, url: str) -> None:
    one, two = host("one"), host("two", "--store", url)
    one.client.create(A, SIZE)
    content = _fill(one, A, tmp_path, "file")
    two.client.create(A, SIZE)
    _fill(two, A, tmp_path, "other")
    one = host("one", "--store", url)
    stores.wait_for(lambda: "another one has this name" in (one.client.stat(A).not_durable or ""))
    assert _read(one, A, tmp_path, "file") == content
    assert one.client.stat(A).url is None
    two.client.delete(A)
    one = host("one", "--store", url)
    _durable(one, A)


def test_a_silent_store_is_asked_again(host: Host, tmp_path: Path) -> None:
    one = host("one")
    one.client.create(A, SIZE)
    content = _fill(one, A, tmp_path, "file")
    (tmp_path / "store").write_text("not a directory yet")
    one = host("one", "--store", f"file://{tmp_path}/store")
    stores.wait_for(lambda: str(tmp_path) in (one.client.stat(A).not_durable or ""))
    (tmp_path / "store").unlink()
    with one.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == content
    _durable(one, A)


@pytest.mark.parametrize("point", ["publish: registered"])
def test_publishing_is_done_again_after_a_crash(
    point: str, host: Host, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encrypted, because HEAD then has a key of the first try that the second must take over."""
    keys = tmp_path / "keys"
    keys.write_text(os.urandom(32).hex())
    keys.chmod(0o600)
    monkeypatch.setenv("PILOT_VOLUME_KEY_FILE", str(keys))
    one = host("one")
    one.client.create(A, SIZE)
    content = _fill(one, A, tmp_path, "file")
    one = host("one", "--store", url, crash_at=point)
    assert one.process is not None
    assert one.process.wait(60) == -signal.SIGKILL
    os.unlink(one.socket)
    one = host("one", "--store", url)
    _durable(one, A)
    two = host("two", "--store", url)
    two.client.adopt(A)
    assert _read(two, A, tmp_path, "file") == content
    with pytest.raises(errors.Conflict):
        two.client.adopt(A)
