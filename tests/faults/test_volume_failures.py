"""What a volume makes of a host that fails: full disks, tight memory, damage, interruptions, two volumeds."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import files, groups
from tests.support.volumed import Volumed, wait_for_end_of_children

from pilot import errors
from pilot.ids import VolumeId
from pilot.kernel import directio, freeze, mounts
from pilot.volume import layout
from pilot.volume.client import VolumeClient
from pilot.volume.disk import disk as disks
from pilot.volume.facts import Facts
from pilot.volume.serving import zygote

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns")

SIZE = 4 << 30
A, B = VolumeId("a"), VolumeId("b")
MIB = 1 << 20


@pytest.fixture
def volumed(tmp_path: Path) -> Iterator[Volumed]:
    daemon = Volumed(tmp_path)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture
def client(volumed: Volumed) -> VolumeClient:
    return volumed.client


@contextlib.contextmanager
def _file(client: VolumeClient, volume: VolumeId) -> Iterator[int]:
    """The disk as a VM sees it."""
    fd = client.attach_file(volume)
    try:
        yield fd
    finally:
        os.close(fd)
        client.detach(volume)


def _check_filesystem(client: VolumeClient, volume: VolumeId) -> None:
    """e2fsck of a fork: the journal is replayed there, and nothing else may be wrong."""
    fork = VolumeId(f"{volume}-checked")
    client.fork(volume, fork)
    with _file(client, fork) as fd:
        path = f"/proc/self/fd/{fd}"
        subprocess.run(["e2fsck", "-E", "journal_only", "-y", path], pass_fds=[fd], capture_output=True, check=False)
        done = subprocess.run(["e2fsck", "-fn", path], pass_fds=[fd], capture_output=True, text=True, check=False)
    client.delete(fork)
    assert done.returncode == 0, done.stdout


# ---- a full disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_host(tmp_path: Path) -> Iterator[Path]:
    """A directory on an ext4 of its own, of 256 MiB."""
    image, place = tmp_path / "small.img", tmp_path / "small"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(256 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        mounts.umount(place)


def test_a_full_host_disk_is_told_and_costs_nothing_that_was_acknowledged(small_host: Path, tmp_path: Path) -> None:
    volumed = Volumed(small_host)
    client = volumed.client
    volumed.start()
    try:
        client.create(A, SIZE)
        kept: dict[str, str] = {}
        with _perhaps_told(), volumed.mounted(A, tmp_path / "m") as root:
            _write(root / "before", 8 * MIB, kept)
            saved = client.checkpoint(A)
            ballast = small_host / "ballast"
            _fill(ballast, leave_bytes=32 * MIB)
            assert _write_until_it_fails(root, kept) in (errno.ENOSPC, errno.EIO, errno.EROFS)
            # What is known of it can be asked, full or not.
            assert [row.id for row in client.checkpoints(A)] == [saved.id]
            with pytest.raises(errors.HostError, match=r"checkpoint a: .*(No space|Input/output)"):
                client.checkpoint(A)
            with pytest.raises(errors.HostError, match="create volume b: No space"):
                client.create(B, SIZE)
            ballast.unlink()
        assert [row.volume for row in client.list()] == [A]
        with volumed.mounted(A, tmp_path / "m") as root:
            _compare(root, kept)
            _write(root / "after", 8 * MIB, kept)
            _compare(root, kept)
        _check_filesystem(client, A)
        client.restore(A, saved.id)
        with volumed.mounted(A, tmp_path / "m") as root:
            _compare(root, {"before": kept["before"]})
            assert not (root / "f0").exists()
    finally:
        volumed.stop()


@contextlib.contextmanager
def _perhaps_told() -> Iterator[None]:
    """Where the last bit of room was enough for the journal, all but the file that failed was written."""
    try:
        yield
    except errors.HostError as error:
        assert str(error).startswith("detach volume a: it is, but not all was written")  # noqa: PT017


def _write_until_it_fails(root: Path, kept: dict[str, str]) -> int:
    """The errno of it."""
    try:
        for number in range(16):
            _write(root / f"f{number}", 8 * MIB, kept)
    except OSError as error:
        return error.errno or 0
    return 0


def _fill(path: Path, leave_bytes: int) -> None:
    stat = os.statvfs(path.parent)
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, stat.f_bavail * stat.f_frsize - leave_bytes)


def _write(path: Path, size: int, kept: dict[str, str]) -> None:
    """A file, its directory entry and all; in `kept` once fsync has confirmed both."""
    data = random.Random(path.name).randbytes(size)
    files.write_synced(path, data)
    kept[path.name] = hashlib.sha256(data).hexdigest()


def _compare(root: Path, kept: dict[str, str]) -> None:
    for name, digest in kept.items():
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest, name


# ---- memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.requires("cgroup1")
def test_writers_without_memory_do_not_lock_up_their_disk(
    volumed: Volumed, client: VolumeClient, tmp_path: Path
) -> None:
    """Reclaim in the writers' cgroup waits for their own disk, whose worker must not need memory from there."""
    group = groups.directory(os.getpid(), "memory") / "tight"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(24 * MIB))
        client.create(A, SIZE)
        with volumed.mounted(A, tmp_path / "m") as root:
            script = 'echo $$ > "$1/cgroup.procs" && exec dd if=/dev/zero of="$2" bs=1M count=192 conv=fsync'
            writers = [
                subprocess.Popen(
                    ["sh", "-c", f"{script} status=none", "sh", str(group), str(root / f"f{n}")], stderr=subprocess.PIPE
                )
                for n in range(2)
            ]
            ends = [(writer.communicate(timeout=240)[1], writer.returncode) for writer in writers]
            assert ends == [(b"", 0)] * 2
            assert [(root / f"f{n}").stat().st_size for n in range(2)] == [192 * MIB] * 2
            peak = int((group / "memory.max_usage_in_bytes").read_text())
            assert peak > 20 * MIB, "the limit was never felt"
            assert client.stat(A).worker_restarts == 0
    finally:
        group.rmdir()


# ---- freezing -------------------------------------------------------------------------------------------------------


def test_a_filesystem_whose_freezer_falls_silent_is_thawed(
    volumed: Volumed, client: VolumeClient, tmp_path: Path
) -> None:
    """The guard thaws at its deadline, although the socket that it watches stays open."""
    spawner = zygote.Zygote()
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        root_fd = os.open(root, os.O_RDONLY)
        guard = spawner.guard(root_fd, 0.5)
        assert guard.receive() == guard.receive() == ({"ok": True}, []), "calm, and frozen"
        try:
            # Would wait for ever on a frozen filesystem.
            subprocess.run(["sh", "-c", f"echo x > {root}/file && sync {root}/file"], check=True, timeout=30)
            assert not freeze.thaw(root_fd), "it was thawed by the guard"
            answer = guard.receive()
            assert answer
            assert answer[0]["ok"] is False, "and it says so"
        finally:
            freeze.thaw(root_fd)
            guard.close()
            wait_for_end_of_children(spawner.pid)
            os.close(root_fd)
    spawner.close()


# ---- restore --------------------------------------------------------------------------------------------------------

OLD, NEW = b"old" * 30_000, b"new" * 30_000


@pytest.mark.parametrize(
    ("point", "expected"), [("commit: map is stored", NEW), ("restore: stored", OLD)], ids=["before", "after"]
)
@pytest.mark.parametrize("where", ["volumed", "worker"])
def test_an_interrupted_restore_leaves_one_content_or_the_other(
    volumed: Volumed, client: VolumeClient, point: str, expected: bytes, where: str
) -> None:
    """`where`: who has the disk open, and is killed inside of the restore."""
    client.create(A, SIZE)
    with _file(client, A) as fd:
        os.pwrite(fd, OLD, 0)
        os.pwrite(fd, OLD, 1 << 30)
        client.checkpoint(A, checkpoint="saved")  # type: ignore[arg-type]
        os.pwrite(fd, NEW, 0)
        os.pwrite(fd, NEW, 1 << 30)
        os.pwrite(fd, NEW, 2 << 30)
    volumed.stop()
    volumed.start(crash_at=point)
    once = volumed.directory / "crash-once"
    once.unlink()  # armed again below: other commits come first
    with contextlib.ExitStack() as stack:
        fd = stack.enter_context(_file(client, A)) if where == "worker" else -1
        once.touch()
        with pytest.raises(errors.PeerError):
            client.restore(A, "saved")  # type: ignore[arg-type]
        if where == "volumed":
            volumed.wait_killed()
            volumed.start()
            fd = stack.enter_context(_file(client, A))
        places = [os.pread(fd, len(OLD), at) for at in (0, 1 << 30, 2 << 30)]
        assert places == [expected, expected, bytes(len(OLD)) if expected == OLD else NEW]
        os.pwrite(fd, b"goes on", 3 << 30)
        os.fsync(fd)
    with _file(client, A) as fd:
        assert [os.pread(fd, len(OLD), at) for at in (0, 1 << 30)] == [expected] * 2
        assert os.pread(fd, 7, 3 << 30) == b"goes on"


# ---- TRIM -----------------------------------------------------------------------------------------------------------


def test_what_is_trimmed_reads_as_zeros_and_takes_no_space(volumed: Volumed, client: VolumeClient) -> None:
    client.create(A, SIZE)
    with _file(client, A) as fd:
        os.pwrite(fd, os.urandom(16 * MIB), 0)
        os.fsync(fd)
        full = client.stat(A).allocated_bytes
        directio.punch_hole(fd, 4096, 12 * MIB)
        os.kill(volumed.worker(A), signal.SIGKILL)  # an acknowledged TRIM is as good as a write
        assert os.pread(fd, 12 * MIB, 4096) == bytes(12 * MIB)
        assert os.pread(fd, 4096, 0) != bytes(4096)
        os.fsync(fd)
        assert client.stat(A).allocated_bytes <= full - 11 * MIB
        os.pwrite(fd, b"again", 8 * MIB)
        assert os.pread(fd, 10, 8 * MIB) == b"again" + bytes(5)


# ---- damage ---------------------------------------------------------------------------------------------------------


def test_a_truncated_slab_is_refused_by_name(volumed: Volumed, client: VolumeClient) -> None:
    client.create(A, SIZE)
    with _file(client, A) as fd:
        os.pwrite(fd, os.urandom(8 * MIB), 0)
    os.truncate(volumed.disk(A) / "slab", 3 * layout.CHUNK_BYTES)
    with pytest.raises(errors.HostError, match=r"slab: ends after slot 3 of \d+: it was truncated"):
        client.attach_file(A)


def test_a_slab_truncated_under_its_worker_is_an_error_not_zeros(volumed: Volumed, client: VolumeClient) -> None:
    client.create(A, SIZE)
    with _file(client, A) as fd:
        data = os.urandom(8 * MIB)
        os.pwrite(fd, data, 0)
        os.fsync(fd)
        os.truncate(volumed.disk(A) / "slab", 3 * layout.CHUNK_BYTES)
        assert os.pread(fd, 2 * layout.CHUNK_BYTES, 0) == data[: 2 * layout.CHUNK_BYTES]
        with pytest.raises(OSError, match="Input/output error"):
            os.pread(fd, 4096, 4 * MIB)


def test_damage_to_the_map_is_found_never_followed(tmp_path: Path) -> None:
    """Every flipped bit of meta.db is an error, or changes nothing that is read."""
    directory = tmp_path / "disk"
    directory.mkdir()
    disks.create(str(directory), Facts.parse({"size": str(64 * MIB), "lineage": "[]"}))
    with contextlib.closing(disks.Disk(str(directory), [])) as disk:
        for chunk in range(0, 1000, 7):
            disk.write(chunk * layout.CHUNK_BYTES, memoryview(bytes([chunk % 251 + 1]) * layout.CHUNK_BYTES))
        disk.flush()
    whole = (directory / "meta.db").read_bytes()
    before = _content(directory)
    found = 0
    chance = random.Random(8)
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        (directory / "meta.db").write_bytes(damaged)
        for rest in ("meta.db-wal", "meta.db-shm"):
            (directory / rest).unlink(missing_ok=True)
        try:
            after = _content(directory)
        except errors.PilotError:
            found += 1
            continue
        assert after == before
    assert found > 40, "hardly any flipped bit was found: is anything checked?"


def _content(directory: Path) -> tuple[Facts, str]:
    """Facts, and a hash of all that the disk holds."""
    with contextlib.closing(disks.Disk(str(directory), [])) as disk:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(MIB))
        for at in range(0, disk.size_bytes, MIB):
            disk.read(at, buffer)
            digest.update(buffer)
        return disk.facts(), digest.hexdigest()


# ---- two of them ----------------------------------------------------------------------------------------------------


def test_a_second_volumed_on_the_same_state_is_turned_away(volumed: Volumed, client: VolumeClient) -> None:
    client.create(A, SIZE)
    with _file(client, A) as fd:
        os.pwrite(fd, b"first", 0)
        command = [sys.executable, "-m", "pilot.volume.volumed.daemon", "--state-dir", str(volumed.directory)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert "another volumed" in second.stderr
        assert client.stat(A).attached == "file"
        assert os.pread(fd, 5, 0) == b"first"
        process = volumed.process
        assert process is not None
        pid_fd = os.pidfd_open(process.pid)
        assert not select.select([pid_fd], [], [], 0)[0]
        os.close(pid_fd)
