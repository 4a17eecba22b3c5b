"""A state directory without space: what makes room can still be written down."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from sprites.exceptions import SpriteError
from tests.support import store
from tests.support.pilotd import Pilotd

from pilot.host.fsm.documents import Document
from pilot.host.fsm.journal import Record
from pilot.host.fsm.outcome import Ending, Outcome
from pilot.host.store import reserve
from pilot.host.store.database import DiskFull
from pilot.host.store.journal import SqlJournal
from pilot.host.store.sqlite import SqliteDatabase
from pilot.ids import RunId
from pilot.kernel import mounts

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

MIB = 1 << 20
ROUNDS = 10  # of writes that are refused, until the journal needs new room itself


@contextlib.contextmanager
def _serving(host_disk: Path) -> Iterator[Pilotd]:
    """A pilotd whose state is on this disk; nothing of it is left."""
    pilotd = Pilotd(host_disk / "state")
    pilotd.log = host_disk.parent / "pilotd.log"
    pilotd.stop_machines_on_exit = True
    pilotd.start()
    try:
        yield pilotd
    finally:
        pilotd.stop()


def _fill(ballast: Path) -> None:
    """Take all the space there is, to the last block."""
    with ballast.open("ab", buffering=0) as file:
        for size in (MIB, 4096, 1):
            with pytest.raises(OSError, match="No space"):
                _write_for_ever(file, size)


def _write_for_ever(file: FileIO, size: int) -> None:
    while True:
        file.write(bytes(size))
        os.fsync(file.fileno())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 8 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        mounts.umount(place)


def _begin_many(journal: SqlJournal, action: str) -> None:
    """More than SQLite's log has space for."""
    for number in range(1000):
        journal.begin(_run(action, f"{action}-{number}", "x" * 8000))


def _run(action: str, name: str, step: str) -> Record:
    return Record(RunId(name), "sprite", action, name, Document(1, {}), (step,))


def test_a_destroy_is_written_down_on_a_full_disk(small: Path) -> None:
    database = SqliteDatabase(str(small / "state.db"))
    assert (small / "reserve").stat().st_blocks * 512 >= reserve.SIZE
    journal = SqlJournal(database)
    _fill(small / "ballast")
    with pytest.raises(DiskFull, match="disk is full"):
        _begin_many(journal, "checkpoint")
    assert (small / "reserve").exists()

    run = _run("destroy", "sprite", "mark")
    journal.begin(run)
    assert not (small / "reserve").exists()
    journal.completed(run, "mark", Document(1, None))
    journal.decided(run, Outcome(Ending.DONE))
    journal.finished(run)
    assert journal.find(run.id).finished

    database.refill()
    assert not (small / "reserve").exists(), "there is no room for it yet"
    (small / "ballast").unlink()
    database.refill()
    assert (small / "reserve").stat().st_blocks * 512 >= reserve.SIZE
    database.close()


def test_a_reserve_that_is_spent_is_told(small: Path) -> None:
    database = SqliteDatabase(str(small / "state.db"))
    journal = SqlJournal(database)
    (small / "reserve").unlink()
    _fill(small / "ballast")
    with pytest.raises(DiskFull, match="disk is full"):
        _begin_many(journal, "destroy")
    database.close()


@pytest.fixture
def host_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on an ext4 of its own: room for the base volume and little more."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(700 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        mounts.umount(place)


def test_a_sprite_that_filled_the_disk_is_destroyed_and_makes_room(host_disk: Path) -> None:
    with _serving(host_disk) as pilotd, pilotd.client() as client:
        sprite = client.create_sprite("greedy")
        sprite.run("sh", "-c", "dd if=/dev/urandom of=~/fill bs=1M; sync")
        _fill(host_disk / "ballast")
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            _write_rows(pilotd, "greedy")
        client.sprite("greedy").destroy()
        assert [found.name for found in client.list_all_sprites()] == []
        (host_disk / "ballast").unlink()
        store.wait_for(lambda: _free(host_disk) > 100 * MIB)
        client.create_sprite("next").run("true", check=True)
        client.sprite("next").destroy()
        assert (pilotd.state / "reserve").exists()


def test_only_who_fills_the_disk_stops_and_it_can_write_again_by_itself(host_disk: Path) -> None:
    """Its neighbour goes on all the while; why it was started anew is in the events."""
    with _serving(host_disk) as pilotd, pilotd.client() as client:
        greedy, modest = client.create_sprite("greedy"), client.create_sprite("modest")
        with (host_disk / "ballast").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, 120 * MIB)
        # What the checkpoint shares is not written in place: the journal, too, needs new room.
        list(greedy.create_checkpoint())
        kept: list[str] = []
        for round in range(ROUNDS):
            found = greedy.run("sh", "-c", _FILL, str(round), capture_output=True)
            kept += found.stdout.decode().split()
            if _is_read_only(greedy):
                break
        else:
            raise AssertionError("its journal found room all the time")
        for number in range(8):
            modest.run("dd", "if=/dev/urandom", f"of=m{number}", "bs=1M", "count=1", "conv=fsync", check=True)
        assert _complaint(modest) == ""
        (host_disk / "ballast").unlink()
        store.wait_for(lambda: not _complaint(greedy))
        assert greedy.run("wc", "-c", *kept, capture_output=True, check=True).stdout.count(b" 4194304 ") == len(kept)
        greedy.run("sh", "-ec", "echo more > more; sync", check=True)
        events = SqliteDatabase(str(pilotd.state / "state.db"))
        told = [row["sprite"] for row in events.query("SELECT * FROM events WHERE kind = 'sprite.read_only'")]
        events.close()
        assert told == ["greedy"]
        greedy.destroy()
        modest.destroy()


# Files of 4 MiB, each synced, until nothing can be written any more; the names of those that were.
_FILL = """n=0; failed=0
while [ $failed -lt 4 ]; do
    n=$((n + 1))
    dd if=/dev/urandom of=f$0.$n bs=4M count=1 conv=fsync 2>/dev/null && echo f$0.$n || failed=$((failed + 1))
done"""


_STARTED_ANEW = "is just being started anew"


def _complaint(sprite: Any) -> str:
    """Of who writes a little: nothing when it can."""
    try:
        found = sprite.run("sh", "-c", "touch ~/probe && sync ~/probe", capture_output=True, timeout=60)
    except (SpriteError, OSError):
        return _STARTED_ANEW
    return str(found.stderr.decode()) or f"exit {found.returncode}" if found.returncode else ""


def _is_read_only(sprite: Any) -> bool:
    """Or just being started anew. One without room is neither: its file system goes on."""
    said = _complaint(sprite)
    return said == _STARTED_ANEW or "Read-only file system" in said


def _write_rows(pilotd: Pilotd, sprite: str) -> None:
    """Until pilotd's books are full, too."""
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    with httpx.Client(base_url=pilotd.url, headers=headers, timeout=60) as http:
        for number in range(5000):
            labels = [f"label-{number}-{index}" for index in range(8)]
            http.put(f"/v1/sprites/{sprite}", json={"labels": labels}).raise_for_status()


def _free(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize
