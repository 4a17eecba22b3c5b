"""A disk that finds no room: what is superseded is freed, what the store has is evicted, and then it is an error."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.volume import layout
from pilot.volume.disk import disk as disks
from pilot.volume.disk import room
from pilot.volume.facts import Facts
from pilot.volume.remote.live import link
from pilot.volume.remote.log import hold
from pilot.volume.remote.log.head import Head
from pilot.volume.remote.objects import opening
from tests.support.faulty_store import FaultyStore, Switch
from tests.support.store import wait_for

DISK = "0123456789abcdef"
CHUNK = layout.CHUNK_BYTES
SIZE = 1 << 30
ROOM = 40  # chunks


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def objects(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> FaultyStore:
    made = FaultyStore(switch)
    monkeypatch.setattr(opening, "open_store", lambda url: made)
    hold.first_head(made, Head(disk=DISK, volume="a", size_bytes=SIZE))
    return made


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a disk on a filesystem that is full when its slab has ROOM chunks; the slab is the only thing on it."""
    path = tmp_path / "disks" / DISK
    path.mkdir(parents=True)

    def free(volumes: str) -> int:
        assert volumes == str(tmp_path)
        return max(0, (ROOM + 1) * CHUNK - os.stat(path / "slab").st_blocks * 512)

    monkeypatch.setattr(room, "free_bytes", free)
    monkeypatch.setattr(room, "reserve_bytes", lambda _: 8 * CHUNK)
    return str(path)


def _make(directory: str, **facts: str) -> None:
    disks.create(directory, Facts.parse({"size": str(SIZE), "lineage": "[]", **facts}))


STORED = {"local/store": "memory://store", "local/holder": "one"}


@contextlib.contextmanager
def _linked(directory: str) -> Iterator[disks.Disk]:
    with contextlib.closing(disks.Disk(directory, [])) as disk:
        tied = link.Link(disk, [])
        try:
            tied.start(hydrate=False)
            yield disk
        finally:
            tied.close(30)


def _data(number: int) -> memoryview:
    return memoryview(number.to_bytes(4, "little") * (CHUNK // 4))


def _fill(disk: disks.Disk, numbers: range) -> int:
    """Write these chunks, each with its number; how many, until there was no room."""
    for done, number in enumerate(numbers):
        try:
            disk.write(number * CHUNK, _data(number))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return done
    return len(numbers)


def _wrong(disk: disks.Disk, numbers: range) -> list[int]:
    """The chunks that do not hold their number."""
    into = memoryview(bytearray(CHUNK))
    found = []
    for number in numbers:
        disk.read(number * CHUNK, into)
        if into != _data(number):
            found.append(number)
    return found


def test_without_a_store_it_is_an_error_once_and_what_is_there_stays(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    _make(directory)
    with contextlib.closing(disks.Disk(directory, [])) as disk:
        assert _fill(disk, range(1, 100)) == ROOM
        assert _fill(disk, range(90, 100)) == 0
        assert len([text for text in caplog.messages if "no room for new chunks" in text]) == 1
        disk.flush()
        disk.write(7 * CHUNK, _data(7))  # in place
        disk.trim(40 * CHUNK, CHUNK)
        assert _fill(disk, range(90, 100)) == 1, "a flush frees what was trimmed"
        assert _wrong(disk, range(1, 40)) == []
        disk.flush()
    with contextlib.closing(disks.Disk(directory, [])) as disk:
        assert _wrong(disk, range(1, 40)) == []
        assert _wrong(disk, range(90, 91)) == []


def test_what_is_superseded_is_freed_first(directory: str) -> None:
    _make(directory)
    with contextlib.closing(disks.Disk(directory, [])) as disk:
        assert _fill(disk, range(1, 37)) == 36
        for _ in range(5):  # a cut makes all immutable: what is written over goes elsewhere
            with disk.opened.lock:
                disk._ledger.cut()
            assert _fill(disk, range(1, 37)) == 36
        assert _wrong(disk, range(1, 37)) == []


def test_what_the_store_has_makes_room(directory: str, objects: FaultyStore) -> None:
    _make(directory, **STORED)
    with _linked(directory) as disk:
        assert _fill(disk, range(1, 201)) == 200, "five times what there is room for"
        assert disk.usage()["cold_bytes"] > 0
        assert _wrong(disk, range(1, 201)) == [], "what is read makes room for itself too"
        assert disk.usage()["allocated_bytes"] <= (ROOM + 33) * CHUNK  # and what was read ahead


@pytest.mark.slow
def test_with_a_silent_store_writers_wait_then_fail_then_go_on(
    directory: str, objects: FaultyStore, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_GIVE_UP_S", 1.5)
    _make(directory, **STORED)
    switch.is_down.set()
    with _linked(directory) as disk:
        assert _fill(disk, range(1, 100)) == ROOM
        assert disk.debt.patience > 0, "waiting is not being stuck"
        assert _wrong(disk, range(1, ROOM + 1)) == []
        monkeypatch.setattr(room, "_GIVE_UP_S", 60.0)
        done: list[int] = []
        writer = threading.Thread(target=lambda: done.append(_fill(disk, range(50, 100))))
        before = disk.debt.patience
        writer.start()
        wait_for(lambda: disk.debt.patience > before)
        switch.is_down.clear()
        writer.join(60)
        assert done == [50]
        assert _wrong(disk, range(50, 100)) == []
        assert _wrong(disk, range(1, ROOM + 1)) == []


def test_what_a_fork_that_is_open_here_reads_is_not_evicted_for_room(
    directory: str, objects: FaultyStore, tmp_path: Path
) -> None:
    _make(directory, **STORED)
    child = str(tmp_path / "disks" / ("f" * 16))
    os.mkdir(child)
    with _linked(directory) as disk:
        disks.create(child, Facts(size_bytes=SIZE, lineage=(DISK,)), disk.roots.fork("f" * 16))
        with contextlib.closing(disks.Disk(child, [directory])):
            assert _fill(disk, range(1, 100)) == ROOM
        assert _fill(disk, range(50, 100)) == 50


def test_many_writers_at_once_share_what_is_made(directory: str, objects: FaultyStore) -> None:
    _make(directory, **STORED)
    with _linked(directory) as disk:
        done: list[int] = []
        writers = [
            threading.Thread(target=lambda n=n: done.append(_fill(disk, range(n * 50, n * 50 + 40))))
            for n in range(1, 5)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(120)
        assert done == [40] * 4
        assert [_wrong(disk, range(n * 50, n * 50 + 40)) for n in range(1, 5)] == [[]] * 4


def test_one_that_lost_the_volume_does_not_wait_for_room(directory: str, objects: FaultyStore, switch: Switch) -> None:
    _make(directory, **STORED)
    switch.is_down.set()
    with _linked(directory) as disk:
        assert _fill(disk, range(1, ROOM + 1)) == ROOM
        raised: list[int | None] = []

        def write() -> None:
            try:
                disk.write(90 * CHUNK, _data(90))
            except OSError as error:
                raised.append(error.errno)

        writer = threading.Thread(target=write)
        writer.start()
        wait_for(lambda: disk.debt.patience > 0)
        disk.debt.fence("another has it")
        writer.join(30)
        assert raised == [errno.EIO]
        switch.is_down.clear()


# ---- the reserve


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volumed's directory with one disk, on a filesystem with 1 MiB kept and as much free as `free` says."""
    disk = tmp_path / "disks" / DISK
    disk.mkdir(parents=True)
    monkeypatch.setattr(room, "reserve_bytes", lambda _: 1 << 20)
    monkeypatch.setattr(room, "_available", lambda _: int((tmp_path / "free").read_text()))
    return tmp_path


def test_the_reserve_is_made_with_room_given_up_without_and_made_again(host: Path) -> None:
    reserve, disk = host / room.RESERVE, str(host / "disks" / DISK)
    free = host / "free"
    free.write_text(str(1 << 20))
    room.keep_reserve(str(host))
    assert not reserve.exists(), "not the last of it"
    free.write_text(str(2 << 20))
    room.keep_reserve(str(host))
    assert reserve.stat().st_blocks * 512 >= 1 << 20
    room.give_way(disk)
    assert reserve.stat().st_size == 1 << 20, "there is enough"
    assert room.free_bytes(str(host)) == 2 << 20
    free.write_text(str(1 << 19))
    assert room.free_bytes(str(host)) == 1 << 19, "the reserve is there: chunks may take what is free"
    room.give_way(disk)
    free.write_text(str((1 << 19) - 1))
    room.give_way(disk)
    assert reserve.stat().st_blocks == 0
    free.write_text(str((1 << 20) + (1 << 19)))
    assert room.free_bytes(str(host)) == 1 << 19, "what was given up is kept free"
    room.keep_reserve(str(host))
    assert reserve.stat().st_blocks == 0
    free.write_text(str(3 << 20))
    room.keep_reserve(str(host))
    assert reserve.stat().st_blocks * 512 >= 1 << 20


def test_a_disk_of_no_volumed_has_no_reserve_to_give(host: Path) -> None:
    (host / "free").write_text("0")
    room.give_way(str(host / "disks" / DISK))
    assert not (host / room.RESERVE).exists()
    assert room.free_bytes(str(host)) == 0


def test_a_disk_is_called_by_its_volume(host: Path) -> None:
    disk = str(host / "disks" / DISK)
    assert room.volume_of(disk) == DISK
    (host / "names").mkdir()
    (host / "names" / "a").symlink_to(f"../disks/{DISK}")
    assert room.volume_of(disk) == "a"


# ---- neighbours


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two disks on one filesystem that has room for ROOM chunks of both together; 4 of them are the guard."""
    paths = [tmp_path / "disks" / name for name in (DISK, "f" * 16)]
    for path in paths:
        path.mkdir(parents=True)
        _make(str(path))

    def free(volumes: str) -> int:
        taken = sum(os.stat(path / "slab").st_blocks * 512 for path in paths)
        return max(0, (ROOM + 1) * CHUNK - taken)

    def is_greedy(directory: str) -> bool:
        return os.stat(os.path.join(directory, "slab")).st_blocks * 512 > ROOM * CHUNK // 2

    monkeypatch.setattr(room, "free_bytes", free)
    monkeypatch.setattr(room, "reserve_bytes", lambda _: 8 * CHUNK)
    monkeypatch.setattr(room, "is_greedy", is_greedy)
    monkeypatch.setattr(room, "_GUARD_BYTES", 4 * CHUNK)
    return str(paths[0]), str(paths[1])


def test_the_greedy_one_is_refused_while_its_neighbour_goes_on(shared: tuple[str, str]) -> None:
    greedy, modest = shared
    with contextlib.closing(disks.Disk(greedy, [])) as one, contextlib.closing(disks.Disk(modest, [])) as other:
        assert _fill(one, range(1, 100)) == ROOM - 4
        assert _fill(other, range(1, 4)) == 3
        other.flush()
        assert _fill(one, range(50, 60)) == 0
        assert _wrong(other, range(1, 4)) == []


def test_a_neighbour_waits_until_there_is_room_again(shared: tuple[str, str]) -> None:
    greedy, modest = shared
    with contextlib.closing(disks.Disk(greedy, [])) as one, contextlib.closing(disks.Disk(modest, [])) as other:
        _fill(one, range(1, 100))
        assert _fill(other, range(1, 5)) == 4  # the guard
        done: list[int] = []
        writer = threading.Thread(target=lambda: done.append(_fill(other, range(5, 10))))
        before = other.debt.patience
        writer.start()
        wait_for(lambda: other.debt.patience > before)
        one.trim(CHUNK, 20 * CHUNK)
        one.commit()
        writer.join(60)
        assert done == [5]
        assert _wrong(other, range(1, 10)) == []


def test_who_was_refused_is_refused_at_once_until_there_is_room(
    shared: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_WAIT_S", 0.3)
    greedy, modest = shared
    with contextlib.closing(disks.Disk(greedy, [])) as one, contextlib.closing(disks.Disk(modest, [])) as other:
        _fill(one, range(1, 100))
        assert _fill(other, range(1, 10)) == 4
        waited = other.debt.patience
        assert waited > 0
        assert [_fill(other, range(5, 10)) for _ in range(5)] == [0] * 5
        assert other.debt.patience == waited
        one.trim(CHUNK, 20 * CHUNK)
        one.commit()
        assert _fill(other, range(5, 10)) == 5


def test_half_of_the_reserve_is_for_a_filesystem_that_is_being_mounted(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half stays for the map; what is beyond a quota and its spare is none of the host's disk, and stands."""
    monkeypatch.setattr(room, "_SPARE_BYTES", 0)
    reserve, taken = Path(directory).parents[1] / room.RESERVE, 0
    reserve.write_bytes(bytes(8 * CHUNK))
    monkeypatch.setattr(room, "free_bytes", lambda _: 0)
    monkeypatch.setattr(room, "_available", lambda _: 8 * CHUNK - reserve.stat().st_size - taken)
    gauge = room.Gauge(directory)
    with pytest.raises(OSError, match="no room"):
        gauge.claim(CHUNK)
    assert reserve.stat().st_size == 8 * CHUNK
    with room.mounting(directory):
        with pytest.raises(OSError, match="no room"):
            room.Gauge(directory, lambda: 0).claim(CHUNK)
        for _ in range(4):
            gauge.claim(CHUNK)
            taken += CHUNK
        with pytest.raises(OSError, match="no room"):
            gauge.claim(CHUNK)
    taken = 0
    with pytest.raises(OSError, match="no room"):
        gauge.claim(CHUNK)


def _taken_until_refused(directory: str, quota: int) -> int:
    """How many chunks a disk there gets that begins with `quota` bytes in its slab, each of them written."""
    gauge, slab = room.Gauge(directory, lambda: quota), Path(directory) / "slab"
    for number in range(1000):
        try:
            gauge.claim(CHUNK)
        except OSError:
            return number
        with slab.open("ab") as file:
            file.write(bytes(CHUNK))
            os.fsync(file.fileno())
    raise AssertionError("it is never refused")


def test_what_was_stopped_by_its_quota_can_be_started_and_emptied(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_SPARE_BYTES", 4 * CHUNK)
    monkeypatch.setattr(room, "free_bytes", lambda _: 1000 * CHUNK)
    quota, slab = 20 * CHUNK, Path(directory) / "slab"
    with room.mounting(directory):  # when it had taken nothing yet
        pass
    slab.write_bytes(bytes(quota))
    assert _taken_until_refused(directory, quota) == 0, "a quota stands"
    with room.mounting(directory):
        assert _taken_until_refused(directory, quota) == 8, "its journal is replayed"
    slab.write_bytes(bytes(quota))
    assert _taken_until_refused(directory, quota) == 4, "what is there can be deleted"
    with room.mounting(directory):
        assert _taken_until_refused(directory, quota) == 4
    assert _taken_until_refused(directory, quota) == 0, "it does not grow with each start"
    slab.write_bytes(b"")
    with room.mounting(directory):
        pass
    slab.write_bytes(bytes(quota))
    assert _taken_until_refused(directory, quota) == 0, "where there was room the quota stands again"
