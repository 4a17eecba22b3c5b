"""Whoever is killed while a request of volumed waits for a disk: nothing of the host waits for ever, nothing is left.

The worker is stopped first, so that the request surely waits for it inside of the kernel; then it is killed, together
with others.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.support import volumed as support
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.kernel import mounts
from pilot.volume.volumed import fusectl

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop")

A = VolumeId("a")
SIZE = 1 << 30
BOUND_S = 60.0
DEATHS = [
    ("worker",), ("worker", "zygote"), ("worker", "volumed"), ("worker", "keeper"), ("worker", "zygote", "keeper"),
    ("worker", "keeper", "volumed"), ("worker", "zygote", "volumed"), ("worker", "zygote", "keeper", "volumed"),
]  # fmt: skip


@pytest.fixture
def volumed(tmp_path: Path) -> Iterator[Volumed]:
    made = Volumed(tmp_path)
    made.start()
    yield made
    made.stop()
    assert made.loops() == []


def _connection(worker: int) -> int:
    """The FUSE connection that it serves."""
    for info in Path(f"/proc/{worker}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # just closed
            for line in info.read_text().splitlines():
                if line.startswith("fuse_connection:"):
                    return int(line.split()[1])
    raise AssertionError(f"{worker} serves no FUSE connection")


def _is_formatting() -> bool:
    """Whether mkfs has been started: from then on each step of an attach needs the worker's answers on the disk."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # just ended
            if comm.read_text() == "mkfs.ext4\n":
                return True
    return False


def _wait_until(is_so: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + BOUND_S
    while not is_so():
        assert time.monotonic() < deadline, complaint


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    # kill returns before every thread has stopped, and one that has not could still answer.
    tasks = Path(f"/proc/{pid}/task")
    _wait_until(lambda: all(") T " in stat.read_text() for stat in tasks.glob("*/stat")), "it does not stop")


def _pids(volumed: Volumed, parts: Sequence[str]) -> list[int]:
    return [getattr(volumed, part)(*([A] if part == "worker" else [])) for part in parts if part != "volumed"]


def _die_under(volumed: Volumed, parts: Sequence[str], request: Callable[[], object]) -> None:
    """These are killed while the request waits for the disk; it ends, well or with an error, and volumed runs."""
    pids = _pids(volumed, parts)
    connection = _connection(pids[0])
    _stop(pids[0])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(request)
        _wait_until(lambda: fusectl.waiting(connection) > 0, "nothing waits for the worker")
        old = volumed.process
        volumed.kill_all(pids, volumed="volumed" in parts)
        if "volumed" in parts:
            assert old is not None
            assert old.poll() is not None, "nothing keeps it from its end"
            volumed.start()
        with contextlib.suppress(errors.PilotError):
            asked.result(timeout=BOUND_S)


@pytest.fixture
def written(volumed: Volumed, tmp_path: Path) -> VolumeId:
    volumed.client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("synced")
    return A


def _attach(volumed: Volumed, place: Path) -> None:
    mount_fd = volumed.client.attach(A, 0, 1 << 32)
    place.mkdir(exist_ok=True)
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)


@pytest.mark.parametrize("parts", DEATHS, ids="+".join)
def test_detach(volumed: Volumed, written: VolumeId, tmp_path: Path, parts: Sequence[str]) -> None:
    _attach(volumed, tmp_path / "m")
    (tmp_path / "m" / "dirty").write_bytes(os.urandom(1 << 20))
    mounts.umount(tmp_path / "m")
    _die_under(volumed, parts, lambda: volumed.client.detach(A))
    with contextlib.suppress(errors.HostError):  # not all was written
        volumed.client.detach(A)
    assert volumed.client.stat(A).attached is None
    with volumed.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_text() == "synced"


@pytest.mark.parametrize("parts", DEATHS, ids="+".join)
def test_checkpoint(volumed: Volumed, written: VolumeId, tmp_path: Path, parts: Sequence[str]) -> None:
    """Whether it is made or not: it can be made after."""
    _attach(volumed, tmp_path / "m")
    (tmp_path / "m" / "dirty").write_bytes(data := os.urandom(1 << 20))
    _die_under(volumed, parts, lambda: volumed.client.checkpoint(A, checkpoint=CheckpointId("first")))
    if {"worker", "keeper", "volumed"} <= set(parts):  # nobody had the connection any more
        mounts.umount(tmp_path / "m")
        _attach(volumed, tmp_path / "m")
    else:
        (tmp_path / "m" / "after").write_text("")
        assert (tmp_path / "m" / "dirty").read_bytes() == data
    assert volumed.client.checkpoint(A).id == "v1"
    mounts.umount(tmp_path / "m")
    volumed.client.detach(A)


@pytest.mark.parametrize("parts", DEATHS, ids="+".join)
def test_attach(volumed: Volumed, tmp_path: Path, parts: Sequence[str]) -> None:
    """While it is formatted, which goes on for long enough."""
    volumed.client.create(A, SIZE)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: os.close(volumed.client.attach(A, 0, 1 << 32)))
        pids = _pids(volumed, parts)
        connection = _connection(pids[0])
        _wait_until(_is_formatting, "nobody formats it")
        _stop(pids[0])
        _wait_until(lambda: fusectl.waiting(connection) > 0, "nothing waits for the worker")
        volumed.kill_all(pids, volumed="volumed" in parts)
        if "volumed" in parts:
            volumed.start()
        with contextlib.suppress(errors.PilotError):
            asked.result(timeout=BOUND_S)
    with contextlib.suppress(errors.HostError):
        volumed.client.detach(A)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("x")


def test_nobody_is_left_of_a_killed_errand(volumed: Volumed, written: VolumeId, tmp_path: Path) -> None:
    """The errand is killed, too, and ends when its disk answers again."""
    _attach(volumed, tmp_path / "m")
    (tmp_path / "m" / "dirty").write_bytes(os.urandom(1 << 20))
    mounts.umount(tmp_path / "m")
    zygote = volumed.zygote()
    worker = volumed.worker(A)
    connection = _connection(worker)
    _stop(worker)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: volumed.client.detach(A))
        _wait_until(lambda: fusectl.waiting(connection) > 0, "nothing waits for the worker")
        errands = [pid for pid in support.children(zygote) if pid != worker]
        for pid in errands:
            os.kill(pid, signal.SIGKILL)
        os.kill(worker, signal.SIGCONT)
        with pytest.raises(errors.HostError, match="not all was written"):
            asked.result(timeout=BOUND_S)
    assert errands
    assert not any(map(support.is_alive, errands))
    assert volumed.client.stat(A).attached is None
