"""Hot upgrade: what an older build left running is replaced by itself, disk after disk, under writers without an error.

The older build is this one in another place, with a comment more: so it has another identity, and nobody can tell it
from one that has really changed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.volumed import Volumed

from pilot import errors, kernel
from pilot.ids import VolumeId
from pilot.kernel import mounts
from pilot.volume import build, messages
from pilot.volume.requests import to_worker

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns")
DISKS = [VolumeId("a"), VolumeId("b")]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A copy of the package that is of another build; where to find it."""
    source = Path(kernel.__file__).parents[1]
    copy = tmp_path / "older" / "pilot"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "volume" / "layout.py").open("a") as file:
        file.write("# older\n")
    return copy.parent


def _start_older(state: Path, older: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pilot.volume.volumed.daemon", "--state-dir", str(state)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(older)})
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError):
            messages.connect(str(state / "volumed.sock"), 5).close()
            return process
        assert time.monotonic() < deadline
        assert process.poll() is None


def _build_of(volumed: Volumed, volume: VolumeId) -> str | None:
    """None while one takes over from another."""
    try:
        return _ask_build(volumed, volume)
    except (OSError, errors.PeerError):
        return None


def _ask_build(volumed: Volumed, volume: VolumeId) -> str:
    with contextlib.closing(messages.connect(str(volumed.disk(volume) / "worker.sock"), 20)) as connection:
        return str(connection.call(to_worker.Ping())[0].build)


class Writer:
    """Writes and fsyncs numbered files until it is told to stop; an error of any of these is the test's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stop = threading.Event()
        self.written = 0
        self.error: OSError | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with (self._directory / str(self.written)).open("wb") as file:
                    file.write(b"%d" % self.written * 1000)
                    file.flush()
                    os.fsync(file.fileno())
                self.written += 1
        except OSError as error:
            self.error = error

    def await_progress(self, count: int) -> None:
        aim, deadline = self.written + count, time.monotonic() + 60
        while self.written < aim and self.error is None:
            assert time.monotonic() < deadline, "nothing is written any more"
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def _mounted(volumed: Volumed, tmp_path: Path) -> Iterator[list[Path]]:
    places = []
    for volume in DISKS:
        volumed.client.create(volume, 1 << 30)
        place = tmp_path / f"at-{volume}"
        place.mkdir()
        mount_fd = volumed.client.attach(volume, 0, 1 << 32)
        mounts.move_mount(mount_fd, str(place))
        os.close(mount_fd)
        places.append(place)
    try:
        yield places
    finally:
        for place in places:
            mounts.umount(str(place))


def test_disk_after_disk_without_an_error(tmp_path: Path, older: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    volumed = Volumed(state)
    process = _start_older(state, older)
    with _mounted(volumed, tmp_path) as places:
        assert not volumed.client.is_of_this_build()
        assert all(_build_of(volumed, volume) != build.identity() for volume in DISKS)
        writers = [Writer(place) for place in places]
        for writer in writers:
            writer.await_progress(5)
        process.terminate()  # as pilotd does with one that is of another build
        assert process.wait(timeout=30) == 0
        volumed.start()
        assert volumed.client.is_of_this_build()
        deadline = time.monotonic() + 60
        while any(_build_of(volumed, volume) != build.identity() for volume in DISKS):
            assert time.monotonic() < deadline, "workers of the older build are still there"
            time.sleep(0.05)
        for writer in writers:
            writer.await_progress(5)
            writer.stop()
        assert [writer.error for writer in writers] == [None, None]
        for place, writer in zip(places, writers, strict=True):
            for number in range(writer.written):
                assert (place / str(number)).read_bytes() == b"%d" % number * 1000
        rows = {row.volume: row for row in volumed.client.list()}
        assert [rows[volume].worker_restarts for volume in DISKS] == [1, 1]
    volumed.stop()


_ENSURE = """
import sys
from pilot.host import volumed
kept = volumed.Volumed(sys.argv[1], "upgrade")
first = kept.ensure()
print(first, kept.ensure(), volumed.VolumeClient(kept.socket_path).is_of_this_build(), flush=True)
kept.stop()
"""


def test_pilotd_replaces_a_volumed_of_another_build(tmp_path: Path, older: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    process = _start_older(state, older)
    done = subprocess.run(
        [sys.executable, "-c", _ENSURE, str(state)], capture_output=True, text=True, timeout=100, check=False
    )
    assert process.wait(timeout=30) == 0
    first, second, is_ours = done.stdout.split()
    assert first == second != str(process.pid)
    assert is_ours == "True"
