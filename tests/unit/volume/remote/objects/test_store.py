"""What the rest takes for granted of an object store, of each kind: in a directory, and S3 (moto)."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from pilot import errors
from pilot.volume import layout
from pilot.volume.disk import disk as disks
from pilot.volume.facts import Facts
from pilot.volume.remote.live import link
from pilot.volume.remote.log import hold
from pilot.volume.remote.log.head import Head
from pilot.volume.remote.objects import opening, store
from tests.support import store as support

DISK = "0123456789abcdef"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(params=["directory", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    if request.param == "directory":
        return opening.open_store(f"file://{tmp_path}/with%20space")
    bucket = "b" + "".join(c for c in tmp_path.name if c.isalnum()).lower()
    support.use_s3(monkeypatch, request.getfixturevalue("s3"), bucket)
    return opening.open_store(f"s3://{bucket}/some/prefix")


def test_objects_are_what_was_put(objects: store.Store) -> None:
    objects.put("vol/a/seg/1", b"0123456789")
    assert objects.get("vol/a/seg/1").data == b"0123456789"
    assert objects.get_range("vol/a/seg/1", 3, 4) == b"3456"
    assert objects.get_start("vol/a/seg/1", 4) == (b"0123", 10)
    assert objects.get_start("vol/a/seg/1", 400) == (b"0123456789", 10)
    objects.put("vol/a/seg/1", b"new")
    assert objects.get("vol/a/seg/1").data == b"new"
    objects.put("vol/a/seg/2", b"")
    objects.put("vol/b/HEAD.json", b"{}")
    assert sorted((entry.key, entry.size) for entry in objects.list("vol/a/")) == [
        ("vol/a/seg/1", 3), ("vol/a/seg/2", 0),
    ]  # fmt: skip
    objects.delete("vol/a/seg/1")
    objects.delete("vol/a/seg/1")
    assert [entry.key for entry in objects.list("vol/")] == ["vol/a/seg/2", "vol/b/HEAD.json"]
    assert list(objects.list("nothing/")) == []


def test_what_is_not_there_is_not_found(objects: store.Store) -> None:
    for ask in (
        lambda: objects.get("vol/x"),
        lambda: objects.get_range("vol/x", 0, 1),
        lambda: objects.get_start("vol/x", 1),
        lambda: objects.swap("vol/x", b"", "0" * 32),
    ):
        with pytest.raises((errors.NotFound, errors.Conflict)):
            ask()


def test_create_and_swap_are_exact(objects: store.Store) -> None:
    first = objects.create("vol/a/HEAD.json", b"1")
    with pytest.raises(errors.Conflict):
        objects.create("vol/a/HEAD.json", b"2")
    second = objects.swap("vol/a/HEAD.json", b"2", first)
    with pytest.raises(errors.Conflict):
        objects.swap("vol/a/HEAD.json", b"3", first)
    assert objects.get("vol/a/HEAD.json") == (b"2", second)


def test_of_many_swaps_at_once_one_wins(objects: store.Store) -> None:
    version = objects.create("vol/a/HEAD.json", b"0")

    def swap(number: int) -> int:
        try:
            objects.swap("vol/a/HEAD.json", str(number).encode(), version)
        except (errors.Conflict, errors.PeerError):
            return 0
        return number

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = [number for number in pool.map(swap, range(1, 20)) if number]
    assert len(won) == 1
    assert objects.get("vol/a/HEAD.json").data == str(won[0]).encode()


def test_the_loser_of_two_holders_is_fenced(objects: store.Store) -> None:
    hold.first_head(objects, Head(disk=DISK, volume="a", size_bytes=1 << 30))
    one = hold.Hold.resume(objects, DISK, "one", 0)
    one.confirm()
    two = hold.Hold.take(objects, DISK, "two")
    two.begin(1)
    for late in (one.confirm, lambda: one.change(lambda head: head), lambda: hold.Hold.resume(objects, DISK, "one", 0)):
        with pytest.raises(hold.Fenced, match="two holds it"):
            late()
    two.confirm()
    with pytest.raises(errors.Conflict):
        hold.first_head(objects, Head(disk="f" * 16, volume="a", size_bytes=1 << 30))


def test_a_loser_stops_acknowledging(objects: store.Store, tmp_path: Path) -> None:
    """Also one that was idle when it lost: it learns of it soon after its first write, and says so from then on."""
    directory = tmp_path / DISK
    directory.mkdir()
    hold.first_head(objects, Head(disk=DISK, volume="a", size_bytes=1 << 30))
    facts = {"local/store": objects.url, "local/holder": "one", "lineage": "[]"}
    disks.create(str(directory), Facts.parse({"size": str(1 << 30), **facts}))
    with contextlib.closing(disks.Disk(str(directory), [])) as disk:
        tied = link.Link(disk, [])
        tied.start(hydrate=False)
        try:
            disk.write(0, memoryview(b"x" * layout.CHUNK_BYTES))
            disk.flush()
            support.wait_for(lambda: not disk.usage()["unsent_bytes"])
            hold.Hold.take(objects, DISK, "two").begin(100)
            disk.write(0, memoryview(b"y" * layout.CHUNK_BYTES))
            support.wait_for(lambda: disk.debt.fenced)
            for refused in (
                disk.flush,
                lambda: disk.write(0, memoryview(b"z" * layout.CHUNK_BYTES)),
                lambda: disk.read(0, memoryview(bytearray(4096))),
            ):
                with pytest.raises(OSError, match="two holds it"):
                    refused()
        finally:
            assert not tied.close(30)


def test_urls_that_are_none(tmp_path: Path) -> None:
    for url in ("", "file://host/x", "file:relative", "nonsense", "s4://bucket"):
        with pytest.raises(errors.PilotError):
            opening.open_store(url)


def test_what_killed_writers_left_is_cleared_away_and_nothing_else(tmp_path: Path) -> None:
    objects = opening.open_store(f"file://{tmp_path}/store")
    objects.put("vol/a/seg/1", b"x")
    new = tmp_path / "store" / ".new"
    assert list(new.iterdir()) == []
    for name, age_s in (("left", 25 * 3600), ("being-written", 3600)):
        (new / name).write_bytes(b"half")
        written = time.time() - age_s
        os.utime(new / name, (written, written))
    objects = opening.open_store(f"file://{tmp_path}/store")
    assert [entry.name for entry in new.iterdir()] == ["being-written"]
    assert objects.get("vol/a/seg/1").data == b"x"
    assert [entry.key for entry in objects.list("vol/")] == ["vol/a/seg/1"]


def test_keys_do_not_leave_the_directory(tmp_path: Path) -> None:
    objects = opening.open_store(f"file://{tmp_path}/store")
    for key in ("../x", "vol/../../x", "/etc/passwd", ".lock", "vol//x", ""):
        with pytest.raises(errors.PilotError):
            objects.put(key, b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_retry_ends_at_its_deadline() -> None:
    calls = []

    def silent() -> None:
        calls.append(1)
        raise errors.PeerError("no answer")

    with pytest.raises(errors.PeerError):
        store.retry(silent, 0.3)
    assert len(calls) > 1
