"""Restoring the disk of a virtual machine, which is a file: refused while somebody is writing to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.recorder import mounted
from tests.support.store import wait_for
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.kernel import directio
from pilot.volume.client import VolumeClient
from pilot.volume.disk import slab

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop")

A = VolumeId("a")
SAVED = CheckpointId("saved")
SIZE = 1 << 30
KIB = 1 << 10
OLD, NEW = b"old." * KIB, b"new." * KIB


@pytest.fixture
def client(tmp_path: Path) -> Iterator[VolumeClient]:
    volumed = Volumed(tmp_path)
    volumed.start()
    try:
        yield volumed.client
    finally:
        volumed.stop()


@pytest.fixture
def disk_fd(client: VolumeClient) -> Iterator[int]:
    """A volume as a file, whose checkpoint has OLD at 0 and at 64 KiB."""
    client.create(A, SIZE)
    fd = client.attach_file(A)
    for at in (0, 64 * KIB):
        os.pwrite(fd, OLD, at)
    os.fsync(fd)
    client.checkpoint(A, checkpoint=SAVED)
    try:
        yield fd
    finally:
        os.close(fd)
        client.detach(A)


def _refused(client: VolumeClient) -> None:
    with pytest.raises(errors.StateError, match="restore saved: the disk is in use") as raised:
        client.restore(A, SAVED)
    assert raised.value.hint


def _is_restored(client: VolumeClient) -> bool:
    try:
        client.restore(A, SAVED)
    except errors.StateError:
        return False
    return True


def test_what_was_not_synced_refuses_until_it_is(client: VolumeClient, disk_fd: int) -> None:
    os.pwrite(disk_fd, NEW, 0)  # to another slot
    _refused(client)
    assert os.pread(disk_fd, len(NEW), 0) == NEW
    os.fsync(disk_fd)
    os.pwrite(disk_fd, NEW[::-1], 0)  # in place
    _refused(client)
    os.fsync(disk_fd)
    directio.punch_hole(disk_fd, 64 * KIB, 64 * KIB)
    _refused(client)
    os.fsync(disk_fd)
    client.restore(A, SAVED)
    assert [os.pread(disk_fd, len(OLD), at) for at in (0, 64 * KIB)] == [OLD, OLD]


def test_reading_and_idling_do_not_refuse(client: VolumeClient, disk_fd: int) -> None:
    client.restore(A, SAVED)
    assert os.pread(disk_fd, len(OLD), 0) == OLD
    client.restore(A, SAVED)


def test_a_writer_is_never_caught_in_the_middle(client: VolumeClient, disk_fd: int) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            os.pwrite(disk_fd, NEW, 0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            _refused(client)
    finally:
        stop.set()
        writer.join(30)
    assert os.pread(disk_fd, len(NEW), 0) == NEW


def test_a_machine_that_was_killed_is_done(client: VolumeClient, disk_fd: int) -> None:
    """What it had opened is closed with it; the worker hears of that a moment later."""
    own_fd = client.attach_file(A)
    script = f"import os; os.pwrite({own_fd}, b'new.' * 1024, 0); print(flush=True); os.read(0, 1)"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, pass_fds=[own_fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as machine:
        assert machine.stdout is not None
        os.close(own_fd)
        machine.stdout.readline()
        _refused(client)
        machine.kill()
        machine.wait(30)
        wait_for(lambda: _is_restored(client))
    assert os.pread(disk_fd, len(OLD), 0) == OLD


def test_a_guest_that_unmounts_is_done_and_one_that_writes_is_not(
    client: VolumeClient, disk_fd: int, tmp_path: Path
) -> None:
    """The guest is this kernel: ext4 on a loop device on the file."""
    subprocess.run(["mkfs.ext4", "-q", "-F", f"/proc/self/fd/{disk_fd}"], pass_fds=[disk_fd], check=True)
    with mounted(disk_fd, tmp_path / "guest") as root:
        (root / "file").write_text("saved")
    client.checkpoint(A, checkpoint=CheckpointId("formatted"))
    for _ in range(3):
        with mounted(disk_fd, tmp_path / "guest") as root:
            assert (root / "file").read_text() == "saved"
            (root / "file").write_text("lost")
            (root / "more").write_bytes(os.urandom(1 << 20))
            fd = os.open(root / "more", os.O_WRONLY | os.O_DIRECT)
            os.pwrite(fd, slab.aligned(4096), 0)  # reaches the disk, and no flush follows
            os.close(fd)
            with pytest.raises(errors.StateError, match="in use"):
                client.restore(A, CheckpointId("formatted"))
        client.restore(A, CheckpointId("formatted"))
