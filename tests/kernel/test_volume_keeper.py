"""The keeper: two of worker, volumed and keeper are killed under a writer, and nobody above sees an error."""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support import volumed as support
from tests.support.volumed import Volumed

from pilot.ids import VolumeId
from pilot.volume.volumed import keeper

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns")

SIZE = 4 << 30
A = VolumeId("a")


@pytest.fixture
def volumed(tmp_path: Path) -> Iterator[Volumed]:
    daemon = Volumed(tmp_path)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


class Writer:
    """Writes files and syncs each, until the block ends; then `check` finds every one. An error is raised there."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self._hashes: dict[str, str] = {}

    def __enter__(self) -> Writer:
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._done = self._pool.submit(self._write)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        self._done.result()

    def _write(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            data = os.urandom(number % 7 * 5000 + 100)
            fd = os.open(self._root / f"f{number % 200}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            try:
                self._hashes.pop(f"f{number % 200}", None)
                os.write(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            with self._progress:
                self._hashes[f"f{number % 200}"] = hashlib.sha256(data).hexdigest()
                self._progress.notify_all()

    def wait_for_progress(self) -> None:
        """Until something that began after this call is acknowledged."""
        with self._progress:
            for _ in range(3):
                assert self._progress.wait(timeout=30), self._done

    def check(self, root: Path) -> None:
        found = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in self._hashes}
        assert found == self._hashes
        assert found


def _kill(volumed: Volumed, parts: Sequence[str]) -> None:
    volumed.kill_together(A, parts)
    if not volumed.is_running():
        volumed.start()


PAIRS = [
    ("keeper",), ("worker",), ("volumed",), ("zygote",), ("worker", "volumed"), ("worker", "zygote"),
    ("keeper", "worker"), ("keeper", "volumed"), ("keeper", "zygote"),
]  # fmt: skip


def test_any_two_die_under_a_writer_and_nobody_notices(volumed: Volumed, tmp_path: Path) -> None:
    volumed.client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root, Writer(root) as writer:
        for parts in PAIRS:
            writer.wait_for_progress()
            _kill(volumed, parts)
            writer.wait_for_progress()
    with volumed.mounted(A, tmp_path / "m") as root:
        writer.check(root)


def _kept_by(pid: int) -> int:
    """How many descriptors a keeper holds for disks."""
    named = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return sum(any(word in target for word in ("/dev/fuse", "/dev/loop", "volume-delta")) for target in named)


def test_nothing_is_left_of_a_detached_disk(volumed: Volumed, tmp_path: Path) -> None:
    volumed.client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m"):
        pid = volumed.keeper()
        assert _kept_by(pid) == 3
    assert _kept_by(pid) == 0
    assert volumed.loops() == []
    volumed.stop()
    assert not support.is_alive(pid)


def test_a_keeper_ends_with_a_volumed_that_has_nothing_to_keep(volumed: Volumed, tmp_path: Path) -> None:
    volumed.client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m"):
        end = os.pidfd_open(volumed.keeper())
    volumed.kill()
    assert select.select([end], [], [], 20)[0]
    os.close(end)


def test_a_stopped_keeper_does_not_hold_up_a_detach(volumed: Volumed, tmp_path: Path) -> None:
    volumed.client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        pid = volumed.keeper()
        os.kill(pid, signal.SIGSTOP)
        (root / "file").write_text("one")
    assert not support.is_alive(pid)
    assert volumed.loops() == []
    with volumed.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_text() == "one"
        assert volumed.keeper() != pid


def test_a_worker_that_is_stopped_when_volumed_dies_is_replaced(volumed: Volumed, tmp_path: Path) -> None:
    volumed.client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root, Writer(root) as writer:
        writer.wait_for_progress()
        pid = volumed.worker(A)
        os.kill(pid, signal.SIGSTOP)
        volumed.kill()
        volumed.start()
        writer.wait_for_progress()
        assert not support.is_alive(pid)
        assert volumed.client.stat(A).worker_restarts == 1
    with volumed.mounted(A, tmp_path / "m") as root:
        writer.check(root)


def test_all_three_die_and_what_was_synced_is_there(volumed: Volumed, tmp_path: Path) -> None:
    volumed.client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        with open(root / "file", "w") as file:
            file.write("synced")
            file.flush()
            os.fsync(file.fileno())
        _kill(volumed, support.ALL)
        assert volumed.client.stat(A).attached is None
        command = ["dd", "if=/dev/zero", f"of={root / 'file'}", "bs=4k", "count=1", "oflag=sync"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert "Input/output error" in done.stderr
    with volumed.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_text() == "synced"


def test_a_keeper_of_another_build_is_succeeded(tmp_path: Path) -> None:
    """What an earlier volumed left is handed from keeper to keeper, by pidfd_getfd."""
    new_build = str(tmp_path / "new")
    shutil.copy(keeper.BINARY, new_build)
    fd = os.memfd_create("kept")
    os.write(fd, b"content")
    first = keeper.Keeper(str(tmp_path))
    first.keep("disk", {"fuse": fd, "log": fd})
    old = first.pid
    first.close()
    assert old is not None
    assert support.is_alive(old)

    second = keeper.Keeper(str(tmp_path), new_build)
    assert second.pid not in (None, old)
    assert os.readlink(f"/proc/{second.pid}/exe") == new_build
    assert not support.is_alive(old)
    taken = second.take("disk")
    assert {part: os.pread(kept, 20, 0) for part, kept in taken.items()} == {"fuse": b"content", "log": b"content"}
    second.settle()
    new = second.pid
    second.close()
    assert new is not None
    assert not support.is_alive(new), "nobody kept anything"
    for number in (fd, *taken.values()):
        os.close(number)


def test_a_keeper_that_cannot_be_started_costs_nothing(tmp_path: Path) -> None:
    """It is said, and made up for as soon as it can be."""
    binary = tmp_path / "keeper"
    fd = os.memfd_create("kept")
    lone = keeper.Keeper(str(tmp_path), str(binary))
    lone.keep("disk", {"fuse": fd})
    assert lone.pid is None
    shutil.copy(keeper.BINARY, binary)
    lone.ensure()
    assert lone.pid is not None
    lone.drop("disk", ["fuse"])
    lone.close()
    os.close(fd)


def test_a_disk_that_a_vm_has_as_a_file_goes_on_too(volumed: Volumed) -> None:
    """What it wrote and never synced as well: no power was lost."""
    volumed.client.create(A, SIZE)
    fd = volumed.client.attach_file(A)
    os.pwrite(fd, b"x" * 70_000, 12345)
    _kill(volumed, ["worker", "volumed"])
    assert os.pread(fd, 70_002, 12344) == b"\0" + b"x" * 70_000 + b"\0"
    assert volumed.client.stat(A).attached == "file"
    os.close(fd)
    volumed.client.detach(A)
