"""An open disk and its store, without FUSE: back-pressure, waiting flushes, fencing, cold reads."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.ids import CheckpointId
from pilot.volume import layout
from pilot.volume.books import ledger
from pilot.volume.disk import disk as disks
from pilot.volume.disk import meta
from pilot.volume.facts import Facts
from pilot.volume.remote.live import adopt, cache, inband, link, uploader
from pilot.volume.remote.log import hold, sending
from pilot.volume.remote.log.head import Head
from pilot.volume.remote.objects import opening
from tests.support.faulty_store import FaultyStore, Switch
from tests.support.store import wait_for

DISK = "0123456789abcdef"
FORK = "f" * 16
CHUNK = layout.CHUNK_BYTES
SIZE = 1 << 30


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def objects(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> FaultyStore:
    made = FaultyStore(switch)
    monkeypatch.setattr(opening, "open_store", lambda url: made)
    hold.first_head(made, Head(disk=DISK, volume="a", size_bytes=SIZE))
    return made


def _directory(tmp_path: Path, **facts: str) -> str:
    path = tmp_path / DISK
    path.mkdir()
    known = {"local/store": "memory://store", "local/holder": "one", "lineage": "[]", **facts}
    disks.create(str(path), Facts.parse({"size": str(SIZE), **known}))
    return str(path)


@contextlib.contextmanager
def _linked(directory: str) -> Iterator[tuple[disks.Disk, link.Link]]:
    with contextlib.closing(disks.Disk(directory, [])) as disk:
        tied = link.Link(disk, [])
        try:
            yield disk, tied
        finally:
            tied.close(30)


def _data(number: int) -> memoryview:
    return memoryview(number.to_bytes(4, "little") * (CHUNK // 4))


def test_writers_wait_when_the_store_is_away_and_nothing_is_dropped(
    tmp_path: Path, objects: FaultyStore, switch: Switch
) -> None:
    directory = _directory(tmp_path, dirty_cap_bytes=str(8 * CHUNK))
    switch.is_down.set()
    with _linked(directory) as (disk, tied):
        tied.start(hydrate=False)
        done = 0

        def write() -> None:
            nonlocal done
            for number in range(1, 41):
                disk.write(number * CHUNK, _data(number))
                done = number

        writer = threading.Thread(target=write)
        writer.start()
        wait_for(lambda: disk.debt.patience > 0)
        assert done == 9  # the cap, and the one that went over it
        assert tied.error is not None or done == 9
        switch.is_down.clear()
        writer.join(60)
        assert done == 40
        assert tied.close(30)
        assert disk.usage()["unsent_bytes"] == 0
    other = tmp_path / "other" / DISK
    other.mkdir(parents=True)
    adopt.take_over(objects, DISK, str(other), "two")
    with _linked(str(other)) as (copy, _):
        into = memoryview(bytearray(CHUNK))
        for number in range(1, 41):
            copy.read(number * CHUNK, into)
            assert into == _data(number)
        assert copy.usage()["cold_bytes"] == 0


def test_a_flush_that_waits_for_the_store(tmp_path: Path, objects: FaultyStore, switch: Switch) -> None:
    with _linked(_directory(tmp_path, durability="remote")) as (disk, tied):
        tied.start(hydrate=False)
        disk.write(0, _data(7))
        disk.flush()
        assert disk.usage()["unsent_bytes"] == 0
        assert any("/seg/" in key for key in objects.objects)
        switch.is_down.set()
        disk.write(0, _data(8))
        flusher = threading.Thread(target=disk.flush)
        flusher.start()
        wait_for(lambda: disk.debt.patience > 0)
        assert flusher.is_alive()
        switch.is_down.clear()
        flusher.join(60)
        assert not flusher.is_alive()


def test_one_that_lost_the_volume_acknowledges_nothing(tmp_path: Path, objects: FaultyStore) -> None:
    with _linked(_directory(tmp_path, durability="remote")) as (disk, tied):
        tied.start(hydrate=False)
        disk.write(0, _data(1))
        disk.flush()
        hold.Hold.take(objects, DISK, "two").begin(100)
        disk.write(0, _data(2))
        with pytest.raises(OSError, match="two holds it") as raised:
            disk.flush()
        assert raised.value.errno == errno.EIO
        with pytest.raises(OSError, match="two holds it"):
            disk.write(0, _data(3))


def test_what_does_not_come_is_an_error_that_names_the_chunk(
    tmp_path: Path, objects: FaultyStore, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_DEADLINE_S", 0.2)
    with _linked(_directory(tmp_path)) as (disk, tied):
        disk.write(5 * CHUNK, _data(5))
        tied.start(hydrate=False)
    other = tmp_path / "other" / DISK
    other.mkdir(parents=True)
    adopt.take_over(objects, DISK, str(other), "two")
    with _linked(str(other)) as (copy, _):
        into = memoryview(bytearray(CHUNK))
        switch.is_down.set()
        with pytest.raises(OSError, match=f"chunk 0 of vol/{DISK}/seg/.*timed out"):
            copy.read(5 * CHUNK, into)
        switch.is_down.clear()
        copy.read(5 * CHUNK, into)  # it is not damage: later it comes
        assert into == _data(5)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploader, "_ATTEMPT_S", 0.1)
    monkeypatch.setattr(uploader, "_RETRY_S", 0.1)


def _adopted(tmp_path: Path, objects: FaultyStore) -> str:
    other = tmp_path / "other" / DISK
    other.mkdir(parents=True)
    adopt.take_over(objects, DISK, str(other), "two")
    return str(other)


@pytest.mark.usefixtures("impatient")
def test_a_store_that_confirms_what_it_does_not_keep_is_not_believed(tmp_path: Path, objects: FaultyStore) -> None:
    """Nothing is evicted for its word, nothing is lost, and what it does is told."""
    into = memoryview(bytearray(CHUNK))
    objects.fault = lambda operation, key: "untrue" if operation == "create" and "/seg/" in key else None
    with _linked(_directory(tmp_path)) as (disk, tied):
        tied.start(hydrate=False)
        for number in range(1, 9):
            disk.write(number * CHUNK, _data(number))
        wait_for(lambda: "has confirmed it, and does not have it" in (tied.error or ""))
        assert disk.usage()["unsent_bytes"] >= 8 * CHUNK
        assert disk.warmth.evict(0) == 0
        disk.read(3 * CHUNK, into)
        assert into == _data(3)
        objects.fault = lambda operation, key: None
        wait_for(lambda: disk.usage()["unsent_bytes"] == 0)
        assert tied.error is None
    with _linked(_adopted(tmp_path, objects)) as (copy, _):
        for number in range(1, 9):
            copy.read(number * CHUNK, into)
            assert into == _data(number)


@pytest.mark.usefixtures("impatient")
def test_a_store_that_tells_an_old_head_takes_nobodys_volume_away(tmp_path: Path, objects: FaultyStore) -> None:
    """Ours of before is no other holder's: it is claimed anew until the store tells what was written."""
    with _linked(_directory(tmp_path)) as (disk, tied):
        hold.Hold.take(objects, DISK, "one")  # so that there is an old one
        objects.fault = lambda operation, key: "stale" if operation == "get" and key.endswith("HEAD.json") else None
        tied.start(hydrate=False)
        disk.write(CHUNK, _data(1))
        wait_for(lambda: tied.error is not None)
        disk.write(2 * CHUNK, _data(2))
        disk.flush()
        objects.fault = lambda operation, key: None
        wait_for(lambda: disk.usage()["unsent_bytes"] == 0)
        assert tied.error is None
    with _linked(_adopted(tmp_path, objects)) as (copy, _):
        into = memoryview(bytearray(CHUNK))
        for number in (1, 2):
            copy.read(number * CHUNK, into)
            assert into == _data(number)


def test_what_comes_damaged_is_asked_for_once_more(tmp_path: Path, objects: FaultyStore) -> None:
    with _linked(_directory(tmp_path)) as (disk, tied):
        for number in (1, 2, 3):
            disk.write(number * CHUNK, _data(number))
        tied.start(hydrate=False)
    with _linked(_adopted(tmp_path, objects)) as (copy, _):
        into = memoryview(bytearray(CHUNK))
        lies = ["garbled"]
        objects.fault = lambda operation, key: lies.pop() if lies and "/seg/" in key else None
        copy.read(CHUNK, into)
        assert (into, lies) == (_data(1), [])
        objects.fault = lambda operation, key: "garbled" if "/seg/" in key else None
        with pytest.raises(OSError, match=r"chunk \d of|chunk \d, .* damaged") as raised:
            copy.read(2 * CHUNK, into)
        assert raised.value.errno == errno.EIO
        objects.fault = lambda operation, key: None
        copy.read(2 * CHUNK, into)
        assert into == _data(2)


def test_a_partial_write_to_a_cold_chunk_keeps_the_rest(tmp_path: Path, objects: FaultyStore) -> None:
    with _linked(_directory(tmp_path)) as (disk, tied):
        disk.write(0, _data(5))
        tied.start(hydrate=False)
    other = tmp_path / "other" / DISK
    other.mkdir(parents=True)
    adopt.take_over(objects, DISK, str(other), "two")
    with _linked(str(other)) as (copy, _):
        assert copy.usage()["cold_bytes"] == CHUNK
        copy.write(100, memoryview(b"new"))
        into = memoryview(bytearray(CHUNK))
        copy.read(0, into)
        assert into[:100] == _data(5)[:100]
        assert bytes(into[100:103]) == b"new"
        assert into[103:] == _data(5)[103:]


def test_evicted_chunks_come_back(tmp_path: Path, objects: FaultyStore) -> None:
    directory = _directory(tmp_path)
    with _linked(directory) as (disk, tied):
        for number in range(1, 41):
            disk.write(number * CHUNK, memoryview(os.urandom(CHUNK)))
        expected = memoryview(bytearray(40 * CHUNK))
        disk.read(CHUNK, expected)
        assert disk.warmth.evict(0) == 0  # the store has nothing yet
        tied.start(hydrate=False)
        wait_for(lambda: disk.usage()["unsent_bytes"] == 0)
        assert disk.warmth.evict(10 * CHUNK) == 30
        assert disk.usage()["cold_bytes"] == 30 * CHUNK
        found = memoryview(bytearray(40 * CHUNK))
        disk.read(CHUNK, found)
        assert found == expected


def _forked(tmp_path: Path, objects: FaultyStore, **facts: str) -> tuple[str, str, memoryview]:
    """A disk of 8 chunks that are in the store, a fork of it, and what both hold. `facts` are of the fork."""
    directory = _directory(tmp_path)
    expected = memoryview(os.urandom(8 * CHUNK))
    with _linked(directory) as (disk, tied):
        tied.start(hydrate=False)
        disk.write(CHUNK, expected)
        root = disk.roots.fork(FORK)
    hold.first_head(objects, Head(disk=FORK, volume="f", size_bytes=SIZE, lineage=(DISK,)))
    child = tmp_path / FORK
    child.mkdir()
    known = {"local/store": "memory://store", "local/holder": "one", "lineage": f'["{DISK}"]', **facts}
    disks.create(str(child), Facts.parse({"size": str(SIZE), **known}), root)
    return directory, str(child), expected


def _content(disk: disks.Disk) -> memoryview:
    found = memoryview(bytearray(8 * CHUNK))
    disk.read(CHUNK, found)
    return found


def test_a_slab_is_evicted_only_while_no_fork_has_it_open(tmp_path: Path, objects: FaultyStore) -> None:
    directory, child, expected = _forked(tmp_path, objects)
    with _linked(directory) as (disk, _):
        with contextlib.closing(disks.Disk(child, [directory])) as fork:
            assert disk.warmth.evict(0) == 0
            assert _content(fork) == expected
        assert disk.warmth.evict(2 * CHUNK) == 6
        with contextlib.closing(disks.Disk(child, [directory])) as fork:
            tied = link.Link(fork, [directory])
            assert _content(fork) == expected  # from the store
            tied.close(0)
            assert disk.warmth.evict(0) == 0
            assert _content(disk) == expected


def test_a_fork_that_has_its_ancestor_for_itself_evicts_it(tmp_path: Path, objects: FaultyStore) -> None:
    directory, child, expected = _forked(tmp_path, objects, **{"local/cache_bytes": str(3 * CHUNK)})
    with contextlib.closing(disks.Disk(child, [directory])) as fork:
        tied = link.Link(fork, [directory])
        assert _content(fork) == expected
        with contextlib.closing(disks.Disk(child + "/../" + DISK, [])):
            assert fork.warmth.evict(0, 0) == 0  # its owner reads it
        before = fork.warmth.resident_bytes(0)
        assert fork.warmth.evict(before - 5 * CHUNK, 0) == 5
        assert fork.warmth.resident_bytes(0) == before - 5 * CHUNK
        assert fork.warmth.evict(before - 5 * CHUNK, 0) == 0
        assert _content(fork) == expected
        tied.close(0)
    with _linked(directory) as (disk, _):  # and its owner finds what it has
        assert _content(disk) == expected


def test_what_is_sparse_is_written_again_while_the_disk_is_used(
    tmp_path: Path, objects: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inband, "_LOOK_S", 0.05)
    monkeypatch.setattr(sending, "SNAPSHOT_SEGMENTS", 1)
    with _linked(_directory(tmp_path)) as (disk, tied):
        expected = memoryview(bytearray(os.urandom(10 * CHUNK)))
        disk.write(0, expected)
        tied.start(hydrate=True)
        wait_for(lambda: len(disk.outbox.stored_places()) == 10)
        (first,) = {at.stamp for at in disk.outbox.stored_places().values()}
        for number in range(8):  # two of ten are left of the first segment
            expected[number * CHUNK : (number + 1) * CHUNK] = _data(number + 1)
        disk.write(0, expected[: 8 * CHUNK])
        disk.flush()
        wait_for(lambda: first not in {at.stamp for at in disk.outbox.stored_places().values()})
        found = memoryview(bytearray(10 * CHUNK))
        disk.read(0, found)
        assert found == expected
    other = tmp_path / "other" / DISK
    other.mkdir(parents=True)
    adopt.take_over(objects, DISK, str(other), "two")
    with _linked(str(other)) as (copy, _):
        copy.read(0, found)
        assert found == expected


def test_a_limit_is_filled_and_not_more(tmp_path: Path, objects: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_READ_AHEAD", 0)
    with _linked(_directory(tmp_path)) as (disk, tied):
        tied.start(hydrate=False)
        for number in range(1, 9):
            disk.write(number * CHUNK, _data(number))
    other = tmp_path / "other" / DISK
    other.mkdir(parents=True)
    adopt.take_over(objects, DISK, str(other), "two")
    with contextlib.closing(meta.Meta(str(other))) as stored:
        stored.commit(ledger.Commit({}, {}, facts={"local/cache_bytes": str(3 * CHUNK)}))
    with _linked(str(other)) as (copy, tied):
        tied.start(hydrate=True)
        tied._hydrator.join(60)
        assert copy.usage()["cold_bytes"] == 5 * CHUNK


def test_what_is_just_coming_is_not_evicted(
    tmp_path: Path, objects: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be punched after its fetcher had let others read it."""
    with _linked(_directory(tmp_path)) as (disk, tied):
        for number in range(1, 5):
            disk.write(number * CHUNK, _data(number))
        tied.start(hydrate=False)
        wait_for(lambda: disk.usage()["unsent_bytes"] == 0)
        assert disk.warmth.evict(0) == 4
        (own,) = disk.warmth._caches.values()
        write, written, chilled = disk._slab.write, list[int](), list[int]()

        def write_and_evict(slot: int, offset: int, data: memoryview) -> None:
            write(slot, offset, data)
            chilled.extend(own.chill(written))  # those that the same fetch has brought already
            written.append(slot)

        monkeypatch.setattr(disk._slab, "write", write_and_evict)
        into = memoryview(bytearray(CHUNK))
        for number in range(1, 5):
            disk.read(number * CHUNK, into)
            assert into == _data(number)
        assert len(written) == 4
        assert chilled == []


def test_readers_and_writers_beside_eviction(tmp_path: Path, objects: FaultyStore) -> None:
    """Chunks hold their own number, whatever is evicted, fetched and overwritten meanwhile."""
    with _linked(_directory(tmp_path)) as (disk, tied):
        for number in range(1, 33):
            disk.write(number * CHUNK, _data(number))
        tied.start(hydrate=False)
        wait_for(lambda: disk.usage()["unsent_bytes"] == 0)
        stop, wrong = threading.Event(), list[int]()

        def read(first: int) -> None:
            into = memoryview(bytearray(CHUNK))
            rounds = 0
            while not stop.is_set() or rounds < 3:
                rounds += 1
                for number in range(first, 33, 3):
                    disk.read(number * CHUNK, into)
                    if into != _data(number):
                        wrong.append(number)
                    disk.write(number * CHUNK + 8, into[8:16])

        readers = [threading.Thread(target=read, args=(n,)) for n in (1, 2, 3)]
        for reader in readers:
            reader.start()
        evicted = 0
        deadline = time.monotonic() + 60
        rounds = 0
        while evicted <= 200 and (rounds < 200 or not evicted) and time.monotonic() < deadline:
            rounds += 1
            disk.flush()
            evicted += disk.warmth.evict(0)
        stop.set()
        for reader in readers:
            reader.join(60)
        assert wrong == []
        assert evicted > 0


def test_a_checkpoint_is_durable_only_when_its_own_content_is(
    tmp_path: Path, objects: FaultyStore, switch: Switch
) -> None:
    def save() -> None:
        disk.roots.cut(CheckpointId("a")).publish(created_at=1.0, comment=None, frozen_ms=0.0, clean=True)

    def durable_at() -> float | None:
        with contextlib.closing(meta.Meta(directory, read_only=True)) as stored:
            return stored.facts().list_checkpoints()[0].durable_at

    directory = _directory(tmp_path)
    with _linked(directory) as (disk, tied):
        tied.start(hydrate=False)
        disk.write(0, _data(1))
        save()
        wait_for(durable_at)
        switch.is_down.set()
        disk.roots.delete_checkpoint(CheckpointId("a"))
        disk.write(0, _data(2))
        save()
        assert durable_at() is None
        switch.is_down.clear()
        wait_for(durable_at)


def test_a_loser_whose_batch_cannot_be_sent_is_fenced_all_the_same(tmp_path: Path, objects: FaultyStore) -> None:
    """An upload may take minutes; HEAD is asked meanwhile."""
    with _linked(_directory(tmp_path)) as (disk, tied):
        tried: list[str] = []

        def fault(operation: str, key: str) -> str | None:
            tried.extend([key] if "/seg/" in key else [])
            return "lost" if "/seg/" in key else None

        objects.fault = fault
        tied.start(hydrate=False)
        disk.write(0, _data(1))
        disk.flush()
        wait_for(lambda: tried)
        assert disk.debt.fenced is None
        hold.Hold.take(objects, DISK, "two")
        wait_for(lambda: disk.debt.fenced)
        with pytest.raises(OSError, match="two holds it"):
            disk.flush()


def test_an_epoch_of_our_own_is_no_loss(tmp_path: Path, objects: FaultyStore) -> None:
    """A worker that was killed leaves a request behind, or a session begins anew: the same holder, a later epoch."""
    one = hold.Hold.resume(objects, DISK, "one", 0)
    hold.Hold.resume(objects, DISK, "one", 0)
    one.check_holder()
    with pytest.raises(hold.Fenced):
        one.confirm()
    hold.Hold.take(objects, DISK, "two")
    with pytest.raises(hold.Fenced):
        one.check_holder()


def test_silence_is_no_loss(tmp_path: Path, objects: FaultyStore, switch: Switch) -> None:
    with _linked(_directory(tmp_path)) as (disk, tied):
        tied.start(hydrate=False)
        disk.write(0, _data(1))
        disk.flush()
        wait_for(lambda: not disk.usage()["unsent_bytes"])
        switch.is_down.set()
        disk.write(0, _data(2))
        asked = objects.requests
        wait_for(lambda: objects.requests > asked + 5)
        disk.flush()
        assert disk.debt.fenced is None
        switch.is_down.clear()
