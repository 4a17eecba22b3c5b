"""A host whose disk is full: volumes wait and evict, then say so; what was acknowledged and what is saved stays."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import files
from tests.support import store as stores
from tests.support import volumed as support
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.kernel import directio, mounts
from pilot.volume.disk import room

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns")

A, B = VolumeId("a"), VolumeId("b")
SAVED = CheckpointId("saved")
MIB = 1 << 20
SIZE = 4 << 30
HOST_BYTES = 128 * MIB


@pytest.fixture(params=["ext4", "tmpfs"])
def small_host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory on a filesystem of its own, of 128 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={HOST_BYTES}", "small", str(place)], check=True)
    else:
        image = tmp_path / "small.img"
        image.touch()
        os.truncate(image, HOST_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        mounts.umount(place)


@contextlib.contextmanager
def _running(directory: Path, *options: str) -> Iterator[Volumed]:
    volumed = Volumed(directory, *options)
    volumed.start()
    try:
        yield volumed
    finally:
        volumed.stop()


@contextlib.contextmanager
def _file(volumed: Volumed, volume: VolumeId) -> Iterator[int]:
    fd = volumed.client.attach_file(volume)
    try:
        yield fd
    finally:
        os.close(fd)
        volumed.client.detach(volume)


def _block(number: int) -> bytes:
    return random.Random(number).randbytes(MIB)


def _fill(fd: int, first: int = 0) -> int:
    """Write MiB after MiB, each synced, until there is no room; the number of the one that failed."""
    for number in range(first, 2 * HOST_BYTES // MIB):
        try:
            os.pwrite(fd, _block(number), number * MIB)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return number
        os.fsync(fd)
    raise AssertionError("it is never full")


def _holds(fd: int, numbers: range) -> bool:
    return all(os.pread(fd, MIB, number * MIB) == _block(number) for number in numbers)


# ---- without a store


def test_a_full_disk_says_so_and_goes_on_when_there_is_room(
    small_host: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with _running(small_host) as volumed:
        client = volumed.client
        client.create(A, SIZE)
        with _file(volumed, A) as fd:
            os.pwrite(fd, _block(0), 0)
            saved = client.checkpoint(A, checkpoint=SAVED)
            full = _fill(fd)
            assert 64 < full < 128, "the room that there is is used"
            with pytest.raises(OSError, match="No space left"):
                os.pwrite(fd, _block(full), full * MIB)
            os.fsync(fd)
            log = capfd.readouterr().err
            assert log.count("volume a: no room for new chunks: ") == 1
            assert f"{volumed.disk(A)}/slab: " in log
            assert client.stat(A).free_bytes < MIB
            # What was acknowledged is there, can be synced and written over; the map has its room.
            assert _holds(fd, range(full))
            os.pwrite(fd, b"again", 5 * MIB)
            os.pwrite(fd, _block(5), 5 * MIB)
            os.fsync(fd)
            again = client.checkpoint(A)
            with pytest.raises(OSError, match="No space left"):  # all is shared with it now
                os.pwrite(fd, _block(6), 5 * MIB)
            with pytest.raises(errors.HostError, match=f"create volume b: No space left on device: {small_host}"):
                client.create(B, SIZE)
            with pytest.raises(errors.HostError, match="fork volume b: No space left on device"):
                client.fork(A, B)
            assert _holds(fd, range(full))
            # Without the checkpoints writing in place goes on.
            client.delete_checkpoint(A, again.id)
            client.delete_checkpoint(A, saved.id)
            os.pwrite(fd, _block(6), 5 * MIB)
            os.pwrite(fd, _block(5), 5 * MIB)
            os.fsync(fd)
        with _file(volumed, A) as fd:
            assert _holds(fd, range(full))
        client.delete(A)
        stores.wait_for(lambda: (small_host / "volumes" / room.RESERVE).stat().st_size)
        client.create(B, SIZE)
        with _file(volumed, B) as fd:
            assert abs(_fill(fd) - full) <= 2, "all that it had comes back"


def test_ext4_on_a_full_disk_keeps_what_was_synced(small_host: Path, tmp_path: Path) -> None:
    """Also after kill -9 of all that serves it, while it is full: what its journal is to change has room in the half of
    the reserve that is a mount's, and what is mounted can be emptied."""
    with _running(small_host) as volumed:
        (small_host / "other").write_bytes(os.urandom(12 * MIB))
        kept = _fill_beside_a_checkpoint(volumed, tmp_path / "m")
        with _left_full(volumed.mounted(A, tmp_path / "m")) as root:
            assert [name for name in kept if (root / name).read_bytes() != _block(int(name))] == []
        (small_host / "other").unlink()
        with _left_full(volumed.mounted(A, tmp_path / "m")) as root:
            assert [name for name in kept if (root / name).read_bytes() != _block(int(name))] == []


def test_a_checkpoint_is_restored_on_a_full_disk(small_host: Path, tmp_path: Path) -> None:
    with _running(small_host) as volumed:
        _fill_beside_a_checkpoint(volumed, tmp_path / "m")
        volumed.client.restore(A, SAVED)
        with _file(volumed, A) as fd:
            check = ["e2fsck", "-fn", f"/proc/self/fd/{fd}"]
            done = subprocess.run(check, pass_fds=[fd], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout


def _fill_beside_a_checkpoint(volumed: Volumed, place: Path) -> list[str]:
    """The names of the files that were synced before all that serves the volume was killed; it is detached."""
    client = volumed.client
    client.create(A, SIZE)
    place.mkdir()
    mount_fd = client.attach(A, 0, 1 << 32)
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)
    client.checkpoint(A, checkpoint=SAVED)
    kept = _fill_with_files(place)
    assert len(kept) > 30
    volumed.kill_together(A, support.ALL)
    mounts.umount(place)
    volumed.start()
    client.detach(A)
    assert [row.id for row in client.checkpoints(A)] == [SAVED]
    return kept


def _fill_with_files(root: Path) -> list[str]:
    """Files of a MiB until one cannot be written; the names of those that were."""
    kept: list[str] = []
    for number in range(2 * HOST_BYTES // MIB):
        try:
            files.write_synced(root / str(number), _block(number))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO, errno.EROFS):
                raise
            return kept
        kept.append(str(number))
    raise AssertionError("it is never full")


# ---- neighbours


def test_a_neighbour_of_one_that_fills_the_host_stays_writable(small_host: Path, tmp_path: Path) -> None:
    """The greedy one is refused first: what its neighbour needs, for its journal too, is kept for it."""
    with _running(small_host) as volumed:
        client = volumed.client
        client.create(A, SIZE)
        client.create(B, SIZE)
        with volumed.mounted(B, tmp_path / "b") as modest, _file(volumed, A) as greedy:
            files.write_synced(modest / "before", _block(0))
            full = _fill(greedy)
            assert full > 48, "it takes more than its share, as long as nobody else does"
            for number in range(8):
                files.write_synced(modest / str(number), _block(number))
            os.sync()
            assert os.statvfs(modest).f_flag & os.ST_RDONLY == 0
            client.checkpoint(B)
            assert _holds(greedy, range(full))
            os.fsync(greedy)
            assert all((modest / str(number)).read_bytes() == _block(number) for number in range(8))
        client.delete(A)
        with volumed.mounted(B, tmp_path / "b") as modest:
            for number in range(8, 40):
                files.write_synced(modest / str(number), _block(number))
            assert all((modest / str(number)).read_bytes() == _block(number) for number in range(40))


def test_a_neighbour_waits_and_goes_on_when_room_is_back(small_host: Path, tmp_path: Path) -> None:
    """With the guard used up too, its writers wait: no error, and nothing is read-only, when somebody goes."""
    with _running(small_host) as volumed:
        client = volumed.client
        client.create(A, SIZE)
        client.create(B, SIZE)
        with volumed.mounted(B, tmp_path / "b") as modest:
            with _file(volumed, A) as greedy:
                _fill(greedy)
            written: list[int] = []
            failed: list[OSError] = []
            writer = threading.Thread(target=_write_files, args=(modest, range(40), written, failed))
            writer.start()
            _wait_until_it_rests(written)
            assert len(written) < 40, "there is no room for all"
            client.delete(A)
            writer.join(100)
            assert (failed, len(written)) == ([], 40)
            assert all((modest / str(number)).read_bytes() == _block(number) for number in range(40))


def test_a_quota_of_real_bytes_stops_its_own_disk_and_nobody_else(
    small_host: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quota = 16 * MIB
    with _running(small_host) as volumed:
        client = volumed.client
        for volume in (A, B):
            client.create(volume, SIZE)
        with pytest.raises(errors.PilotError, match="limit: Expected `int` >= 1"):
            client.limit(A, 0)
        client.limit(A, quota)
        with _file(volumed, A) as limited, _file(volumed, B) as other:
            began = time.monotonic()
            full = _fill(limited)
            assert time.monotonic() - began < room._WAIT_S, "it waits for nobody: others have nothing to give"
            assert 12 <= full <= 16
            seen = client.stat(A)
            assert (seen.quota_bytes, client.stat(B).quota_bytes) == (quota, None)
            assert seen.allocated_bytes <= quota + MIB
            assert seen.free_bytes > 32 * MIB
            assert "volume a: its quota of 16777216 bytes is taken" in capfd.readouterr().err
            for number in range(24):
                os.pwrite(other, _block(number), number * MIB)
            os.fsync(other)
            os.pwrite(limited, _block(3), 2 * MIB)  # in place
            os.fsync(limited)
            client.limit(A, 2 * quota)  # while it is attached
            assert _fill(limited, full) > 24
        with _file(volumed, A) as limited, pytest.raises(OSError, match="No space left"):
            os.pwrite(limited, _block(1), 200 * MIB)  # the quota is known after a restart of its worker


def test_a_filesystem_that_met_no_room_is_told_and_writable_once_it_is_attached_again(
    small_host: Path, tmp_path: Path
) -> None:
    with _running(small_host) as volumed:
        client = volumed.client
        client.create(A, SIZE)
        client.create(B, SIZE)
        with _file(volumed, B) as other:
            for number in range(40):
                os.pwrite(other, _block(number), number * MIB)
        with _left_full(volumed.mounted(A, tmp_path / "a")) as root:
            assert not client.stat(A).read_only
            assert client.status().read_only == {}
            kept = _write_until_read_only(root)
            assert client.stat(A).read_only
            assert client.status().read_only.keys() == {A}
        client.delete(B)
        with volumed.mounted(A, tmp_path / "a") as root:
            assert not client.stat(A).read_only
            assert all((root / f"in-{name}" / name).read_bytes() == _block(int(name)) for name in kept)
            for number in range(8):
                files.write_synced(root / f"again-{number}", _block(number))


def test_a_filesystem_that_was_stopped_by_its_quota_can_be_started_and_emptied(
    small_host: Path, tmp_path: Path
) -> None:
    with _running(small_host) as volumed:
        client = volumed.client
        client.create(A, SIZE)
        client.limit(A, 64 * MIB)
        with _left_full(volumed.mounted(A, tmp_path / "a")) as root:
            kept = _write_until_read_only(root)
        with volumed.mounted(A, tmp_path / "a") as root:
            assert not client.stat(A).read_only
            assert all((root / f"in-{name}" / name).read_bytes() == _block(int(name)) for name in kept)
            for name in kept:
                (root / f"in-{name}" / name).unlink()
            _write_back(root)
            files.write_synced(root / "again", _block(1))


@contextlib.contextmanager
def _left_full(mounted: contextlib.AbstractContextManager[Path]) -> Iterator[Path]:
    """`mounted`, of which only the end may say that not all could be written."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(mounted)
        with contextlib.suppress(errors.HostError):
            stack.close()


def _write_until_read_only(root: Path) -> list[str]:
    """Files that were synced before the filesystem took no more; refused ones are tried again.

    Each in a directory of its own: ext4 spreads those over its groups, so that its own tables want new room, too.
    """
    kept: list[str] = []
    for number in range(400):
        try:
            (root / f"in-{number}").mkdir()
            files.write_synced(root / f"in-{number}" / str(number), _block(number))
        except OSError as error:
            if error.errno == errno.EROFS:
                return kept
            _write_back(root)
            continue
        kept.append(str(number))
    raise AssertionError("it stays writable")


def _write_back(root: Path) -> None:
    """All that the filesystem has promised; what comes of it is seen by the next who writes."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            directio.sync_filesystem(fd)
    finally:
        os.close(fd)


def _write_files(root: Path, numbers: range, written: list[int], failed: list[OSError]) -> None:
    try:
        for number in numbers:
            files.write_synced(root / str(number), _block(number))
            written.append(number)
    except OSError as error:
        failed.append(error)


def _wait_until_it_rests(written: list[int]) -> None:
    """Until nothing was added for two seconds."""
    deadline = time.monotonic() + 60
    seen = -1
    while seen != len(written):
        assert time.monotonic() < deadline
        seen = len(written)
        time.sleep(2)


# ---- with a store


def test_a_volume_larger_than_its_host_s_disk(small_host: Path, tmp_path: Path) -> None:
    """Writers wait until the store has what can be evicted; nobody sees an error, and the filesystem is whole."""
    with _running(small_host, "--store", f"file://{tmp_path}/store") as volumed:
        client = volumed.client
        client.create(A, SIZE)
        count = 40
        with volumed.mounted(A, tmp_path / "m") as root:
            for number in range(count):
                files.write_synced(root / str(number), b"".join(_block(number * 8 + n) for n in range(8)))
                if number == count // 2:
                    client.checkpoint(A)
            Path("/proc/sys/vm/drop_caches").write_text("3")
            for number in range(count):
                assert (root / str(number)).read_bytes() == b"".join(_block(number * 8 + n) for n in range(8))
            seen = client.stat(A)
            assert seen.worker_restarts == 0
            assert (seen.cold_bytes or 0) > HOST_BYTES
        with volumed.mounted(A, tmp_path / "m") as root:
            assert (root / "3").read_bytes() == b"".join(_block(24 + n) for n in range(8))
        with _file(volumed, A) as fd:
            check = ["e2fsck", "-fn", f"/proc/self/fd/{fd}"]
            done = subprocess.run(check, pass_fds=[fd], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
