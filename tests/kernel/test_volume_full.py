"""A host whose disk is full: volumes wait and evict, then say so; what was acknowledged and what is saved stays."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import store as stores
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.kernel import mounts
from pilot.volume import room

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
