"""A worker that does not answer any more is replaced, and a disk that stays stuck is cut off, by the watchdog."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.ids import VolumeId
from pilot.volume import messages
from pilot.volume.requests import to_worker
from pilot.volume.serving import zygote
from pilot.volume.volumed import attachment, fusectl, supervision, volumes, watchdog

pytestmark = pytest.mark.requires("root", "private", "fuse")

A = VolumeId("a")


@pytest.fixture
def spawner() -> Iterator[zygote.Zygote]:
    made = zygote.Zygote()
    yield made
    made.close()


@pytest.fixture
def store(spawner: zygote.Zygote, tmp_path: Path) -> Iterator[volumes.Volumes]:
    made = volumes.Volumes(str(tmp_path), spawner)
    yield made
    made.close()


@pytest.fixture
def attached(store: volumes.Volumes) -> attachment.Attachment:
    store.create(A, 1 << 30)
    os.close(store.attach_file(A))
    (only,) = store.attached._attached.values()
    return only


def _stop_worker(directory: Path) -> None:
    connection = messages.connect(str((directory / "names" / A).resolve() / "worker.sock"), 10)
    pid = connection.call(to_worker.Ping())[0].pid
    connection.close()
    os.kill(pid, signal.SIGSTOP)
    # kill returns before every thread has stopped, and one that has not could still answer.
    deadline = time.monotonic() + 20
    while any(") T " not in stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")):
        assert time.monotonic() < deadline


def _wait_for_request(attached: attachment.Attachment) -> None:
    deadline = time.monotonic() + 20
    while fusectl.waiting(attached.connection) == 0:
        assert time.monotonic() < deadline


def test_a_stopped_worker_is_replaced_and_the_read_completes(attached: attachment.Attachment, tmp_path: Path) -> None:
    fd = attached.open_file()
    os.pwrite(fd, b"x" * 4096, 0)
    _stop_worker(tmp_path)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        read = pool.submit(os.pread, fd, 4096, 0)
        _wait_for_request(attached)
        attached.watch(0)
        assert not read.done()
        attached.watch(watchdog.REPLACE_S + 1)
        assert read.result(timeout=30) == b"x" * 4096
    os.close(fd)
    assert attached.restarts == 1


def test_a_disk_that_stays_stuck_is_cut_off(attached: attachment.Attachment, tmp_path: Path) -> None:
    fd = attached.open_file()
    _stop_worker(tmp_path)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        read = pool.submit(os.pread, fd, 4096, 0)
        _wait_for_request(attached)
        attached.watch(0)
        attached.watch(watchdog.ABORT_S + 1)
        with pytest.raises(OSError, match=r"connected|abort|Input"):
            read.result(timeout=30)
    os.close(fd)


def _wait_until_cut_off(attached: attachment.Attachment) -> None:
    deadline = time.monotonic() + 20
    while not attached.is_cut_off:
        assert time.monotonic() < deadline


def _kill_worker(directory: Path) -> None:
    connection = messages.connect(str((directory / "names" / A).resolve() / "worker.sock"), 10)
    pid = connection.call(to_worker.Ping())[0].pid
    connection.close()
    os.kill(pid, signal.SIGKILL)


def test_a_kernel_that_does_not_send_again_costs_the_attachment_and_it_is_told(
    store: volumes.Volumes, attached: attachment.Attachment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that were lost with the worker would wait for ever; so they fail, and what was synced is there after."""
    monkeypatch.setattr(supervision, "can_resend", lambda release: False)
    fd = attached.open_file()
    os.pwrite(fd, b"x" * 4096, 0)
    os.fsync(fd)
    _kill_worker(tmp_path)
    _wait_until_cut_off(attached)
    with pytest.raises(OSError, match=r"not connected|abort"):
        os.pread(fd, 4096, 0)
    os.close(fd)
    assert store.stat(A).cut_off
    store.detach(A)
    again = store.attach_file(A)
    assert os.pread(again, 4096, 0) == b"x" * 4096
    os.close(again)
    assert not store.stat(A).cut_off
