"""The whole way of a volume on the real kernel: FUSE, loop, ext4, idmapped mounts."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import volumed as support
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.kernel import ext4, loop, mounts
from pilot.volume.client import VolumeClient
from pilot.volume.operator import cli
from pilot.volume.requests import to_errand
from pilot.volume.serving import errand

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns")

SIZE, SMALL = 4 << 30, 256 << 20
A, B, C = VolumeId("a"), VolumeId("b"), VolumeId("c")


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


def test_a_file_survives_detach_and_attach(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("one")
    assert client.stat(A).attached is None
    with volumed.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_text() == "one"


def test_the_mount_is_idmapped_and_in_no_namespace_before_it_is_moved(client: VolumeClient) -> None:
    client.create(A, SIZE)
    before = {entry.mount_id for entry in mounts.read_mountinfo()}
    mount_fd = client.attach(A, 300000, 65536)
    assert {entry.mount_id for entry in mounts.read_mountinfo()} == before
    place = Path("/run/idmapped")  # not below tmp_path, which only root may pass
    place.mkdir()
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)
    try:
        assert place.stat().st_uid == 300000
        with pytest.raises(OSError, match="Value too large"):
            (place / "by-root").write_text("the host's root has no id in there")
        subprocess.run(
            ["setpriv", "--reuid=300000", "--regid=300000", "--clear-groups", "touch", str(place / "by-user")],
            check=True,
        )
        assert (place / "by-user").stat().st_uid == 300000
    finally:
        mounts.umount(place)
        client.detach(A)


# volumed, with a kernel as before Linux 6.15.
_OLD = """
import errno, os
from pilot.kernel import mounts
from pilot.volume.volumed import daemon
def refuse(*_, **__):
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
mounts.open_tree_at = refuse
daemon.main()
"""


def test_where_nothing_detached_can_be_cloned_a_disk_is_attached_all_the_same(tmp_path: Path) -> None:
    volumed = Volumed(tmp_path, program=("-c", _OLD))
    volumed.start()
    try:
        volumed.client.create(A, SIZE)
        with volumed.mounted(A, tmp_path / "m") as root:
            (root / "file").write_text("one")
            os.chown(root / "file", 5, 5)
            seen_fd = volumed.client.attach(A, 70000, 65536)
            try:
                assert os.stat("file", dir_fd=seen_fd).st_uid == 70005
                assert os.fstat(seen_fd).st_dev == root.stat().st_dev, "it is the same superblock"
            finally:
                os.close(seen_fd)
            assert volumed.client.checkpoint(A).clean
        with volumed.mounted(A, tmp_path / "m") as root:
            assert (root / "file").read_text() == "one"
    finally:
        volumed.stop()
    assert not volumed.loops()


def test_what_is_mounted_is_mounted_once_more_as_large_as_it_is(tmp_path: Path) -> None:
    """Nobody but who has it mounted may make it larger."""
    disk_fd = os.open(tmp_path / "disk", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    os.ftruncate(disk_fd, SMALL)
    number, device_fd = loop.attach(disk_fd, "pilot/test", str(tmp_path))
    errand.DOERS.do([device_fd], to_errand.Format("a"))
    asked = to_errand.Mount("a", number)
    _, [first_fd] = errand.DOERS.do([device_fd], asked)
    os.ftruncate(disk_fd, 2 * SMALL)
    loop.follow_size(device_fd)
    _, [second_fd] = errand.DOERS.do([device_fd], asked)
    assert os.fstat(second_fd).st_dev == os.fstat(first_fd).st_dev
    assert os.statvfs(second_fd).f_blocks == os.statvfs(first_fd).f_blocks
    small = os.statvfs(first_fd).f_blocks
    for fd in (first_fd, second_fd):
        os.close(fd)
    _, [grown_fd] = errand.DOERS.do([device_fd], asked)
    assert os.statvfs(grown_fd).f_blocks > 1.9 * small
    for fd in (grown_fd, device_fd, disk_fd):
        os.close(fd)
    assert loop.wait_unbound(number, "pilot/test", str(tmp_path), 20)


def test_df_calls_a_disk_by_its_device(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (number,) = volumed.loops()
        done = subprocess.run(["df", "--output=source", root], capture_output=True, text=True, check=True)
        named = os.path.exists(f"/dev/loop{number}")
        assert done.stdout.split()[1].startswith(f"/dev/loop{number}" if named else "/proc/self/fd/")


def test_a_checkpoint_of_a_quiet_disk_is_clean(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    """On a busy host a freeze may miss its 80 ms; then the cut is flagged, and one of the next is clean."""
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m"):
        assert any(client.checkpoint(A).clean for _ in range(50))


def test_checkpoint_restore_and_fork(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("one")
        (root / "big").write_bytes(os.urandom(1 << 20))
        first = client.checkpoint(A, "first")
        (root / "file").write_text("two")
        (root / "big").unlink()
        client.fork(A, B)
        client.fork(A, C, first.id)
        with pytest.raises(errors.StateError):
            client.restore(A, first.id)
    assert (first.id, first.comment) == ("v1", "first")
    assert [row.id for row in client.checkpoints(A)] == ["v1"]
    for volume, text in ((A, "two"), (B, "two"), (C, "one")):
        with volumed.mounted(volume, tmp_path / "m") as root:
            assert (root / "file").read_text() == text
    client.restore(A, first.id)
    with volumed.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_text() == "one"
        assert len((root / "big").read_bytes()) == 1 << 20


def test_forks_and_their_sources_write_apart_and_die_apart(
    volumed: Volumed, client: VolumeClient, tmp_path: Path
) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "a") as a:
        (a / "file").write_bytes(b"a" * 300_000)
        client.fork(A, B)
        with volumed.mounted(B, tmp_path / "b") as b:
            (b / "file").write_bytes(b"b" * 300_000)
            (a / "file").write_bytes(b"A" * 300_000)
            os.sync()
            client.fork(B, C)
    client.delete(A)
    client.delete(B)
    assert [row.volume for row in client.list()] == [C]
    with volumed.mounted(C, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == b"b" * 300_000
    client.delete(C)
    assert os.listdir(volumed.directory / "volumes" / "disks") == []


def test_a_base_is_sealed_and_its_forks_are_their_own(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("base")
    client.seal(A)
    with pytest.raises(errors.StateError):
        client.attach(A, 0, 65536)
    slab_before = (volumed.disk(A) / "slab").stat()
    client.fork(A, B)
    client.fork(A, C)
    with volumed.mounted(B, tmp_path / "m") as root:
        (root / "file").write_text("b's")
    with volumed.mounted(C, tmp_path / "m") as root:
        assert (root / "file").read_text() == "base"
    assert (volumed.disk(A) / "slab").stat().st_mtime_ns == slab_before.st_mtime_ns
    assert client.stat(C).allocated_bytes < 8 << 20


def test_the_worker_is_killed_under_writers_and_nobody_notices(
    volumed: Volumed, client: VolumeClient, tmp_path: Path
) -> None:
    client.create(A, SIZE)
    stop = threading.Event()
    written: list[str] = []
    progress = threading.Condition()

    def write(root: Path) -> None:
        number = 0
        while not stop.is_set():
            name = f"f{number}"
            fd = os.open(root / name, os.O_CREAT | os.O_WRONLY)
            os.write(fd, name.encode() * 1000)
            os.fsync(fd)
            os.close(fd)
            with progress:
                written.append(name)
                progress.notify_all()
            number += 1

    with volumed.mounted(A, tmp_path / "m") as root, concurrent.futures.ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write, root)
        try:
            for _ in range(5):
                with progress:
                    goal = len(written) + 20
                    assert progress.wait_for(lambda goal=goal: len(written) >= goal, timeout=30)  # type: ignore[misc]
                os.kill(volumed.worker(A), signal.SIGKILL)
            with progress:
                goal = len(written) + 20
                assert progress.wait_for(lambda: len(written) >= goal, timeout=30)
        finally:
            stop.set()
        writer.result(timeout=30)
        assert client.stat(A).worker_restarts == 5
    with volumed.mounted(A, tmp_path / "m") as root:
        for name in written:
            assert (root / name).read_bytes() == name.encode() * 1000


def test_volumed_is_killed_and_the_next_takes_over(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "before").write_text("x")
        worker = volumed.worker(A)
        volumed.kill()
        (root / "between").write_text("y")
        os.sync()
        volumed.start()
        assert volumed.worker(A) == worker
        assert client.stat(A).attached == "mount"
        (root / "after").write_text("z")
        assert client.checkpoint(A).clean
        os.kill(worker, signal.SIGKILL)
        assert (root / "between").read_text() == "y"
        assert client.checkpoint(A).clean
    assert not support.is_alive(worker)
    with volumed.mounted(A, tmp_path / "m") as root:
        assert {entry.name for entry in root.iterdir()} >= {"before", "between", "after"}


def test_a_stray_mount_cannot_write_after_detach(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    stray = tmp_path / "stray"
    stray.mkdir()
    mount_fd = client.attach(A, 0, 1 << 32)
    mounts.move_mount(mount_fd, stray)
    os.close(mount_fd)
    (stray / "file").write_text("before")
    client.detach(A)
    try:
        with pytest.raises(OSError, match="Input/output error"):
            (stray / "file").write_text("after")
        with volumed.mounted(A, tmp_path / "m") as root:
            assert (root / "file").read_text() == "before"
            (root / "file").write_text("new")
    finally:
        mounts.umount(stray)


def test_a_vm_s_disk_is_a_file_and_never_mounted_here(volumed: Volumed, client: VolumeClient) -> None:
    client.create(A, SIZE)
    fd = client.attach_file(A)
    try:
        assert os.lseek(fd, 0, os.SEEK_END) == SIZE
        os.pwrite(fd, b"x" * 700, 12345)
        os.fsync(fd)
        saved = client.checkpoint(A)
        os.pwrite(fd, b"y" * 700, 12345)
        os.fsync(fd)
        client.restore(A, saved.id)
        assert os.pread(fd, 702, 12344) == b"\0" + b"x" * 700 + b"\0"
    finally:
        os.close(fd)
    client.detach(A)
    assert client.stat(A).vm
    with pytest.raises(errors.StateError):
        client.attach(A, 0, 65536)


def test_trim_gives_space_back(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "big").write_bytes(os.urandom(64 << 20))
        os.sync()
        full = client.stat(A).allocated_bytes
        (root / "big").unlink()
        os.sync()
        subprocess.run(["fstrim", str(root)], check=True)
        os.sync()
    assert full > 64 << 20
    assert client.stat(A).allocated_bytes < full - (60 << 20)


def test_errors_say_what_and_are_of_their_kind(client: VolumeClient) -> None:
    with pytest.raises(errors.NotFound, match="volume a: not found"):
        client.stat(A)
    client.create(A, SIZE)
    with pytest.raises(errors.Conflict):
        client.create(A, SIZE)
    with pytest.raises(errors.NotFound):
        client.restore(A, CheckpointId("v9"))
    with pytest.raises(errors.PilotError, match="invalid volume id"):
        client.create(VolumeId("../x"), SIZE)
    with pytest.raises(errors.PilotError, match="size of 5 bytes"):
        client.create(B, 5)
    client.checkpoint(A, checkpoint=CheckpointId("mine"))
    with pytest.raises(errors.Conflict):
        client.checkpoint(A, checkpoint=CheckpointId("mine"))
    client.delete_checkpoint(A, CheckpointId("mine"))
    with pytest.raises(errors.NotFound):
        client.delete_checkpoint(A, CheckpointId("mine"))


def test_many_at_once(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("base")
    client.seal(A)

    def life(number: int) -> str:
        volume = VolumeId(f"n{number}")
        client.fork(A, volume)
        with volumed.mounted(volume, tmp_path / volume) as root:
            (root / "mine").write_text(volume)
            text = (root / "file").read_text()
        client.delete(volume)
        return text

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(life, range(8))) == ["base"] * 8
    assert [row.volume for row in client.list()] == [A]


def test_nothing_is_left(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m"):
        worker = volumed.worker(A)
        process = volumed.process
        assert process is not None
        during = set(os.listdir(f"/proc/{process.pid}/fd"))
        assert len(volumed.loops()) == 1
    assert not support.is_alive(worker)
    assert len(set(os.listdir(f"/proc/{process.pid}/fd"))) < len(during)
    assert volumed.loops() == []


def test_the_operator_s_command_line(volumed: Volumed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def pilot_volume(*arguments: str) -> str:
        assert cli.main(["--socket", volumed.socket, *arguments]) == 0
        return capsys.readouterr().out

    place = tmp_path / "m"
    place.mkdir()
    pilot_volume("create", "a", "--size", "4G")
    pilot_volume("attach", "a", "--at", str(place))
    (place / "file").write_text("one")
    assert pilot_volume("checkpoint", "a", "--comment", "first").splitlines()[0].startswith("ID  GENERATION")
    mounts.umount(place)
    pilot_volume("detach", "a")
    pilot_volume("fork", "a", "b", "--checkpoint", "v1")
    assert [row["volume"] for row in json.loads(pilot_volume("--json", "list"))] == ["a", "b"]
    assert pilot_volume("du", "b").splitlines()[0].split() == ["VOLUME", "SIZE_BYTES", "ALLOCATED_BYTES"]
    with pytest.raises(errors.NotFound):
        pilot_volume("restore", "a", "v7")
    with pytest.raises(errors.PilotError, match="invalid size"):
        pilot_volume("create", "c", "--size", "lots")


def test_a_volume_grows(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("one")
        small = os.statvfs(root).f_blocks
        if not ext4.may_grow_mounted():
            with pytest.raises(errors.StateError, match="it is mounted"):
                client.resize(A, 2 * SIZE)
    client.resize(A, 2 * SIZE)
    with pytest.raises(errors.StateError):
        client.resize(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        assert os.statvfs(root).f_blocks > 1.9 * small
        assert (root / "file").read_text() == "one"
    fd = client.attach_file(A)
    try:
        assert os.lseek(fd, 0, os.SEEK_END) == 2 * SIZE
        client.resize(A, 3 * SIZE)  # whoever has the file may do this at any time
        os.ftruncate(fd, 3 * SIZE)  # as QEMU does: this kernel's idea of the size follows
        assert os.lseek(fd, 0, os.SEEK_END) == 3 * SIZE
        os.pwrite(fd, b"end", 2 * SIZE - 3)
        assert os.pread(fd, 3, 2 * SIZE - 3) == b"end"
    finally:
        os.close(fd)
    client.detach(A)


@pytest.mark.requires("cap_sys_resource")
def test_a_volume_grows_while_it_is_used(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    """Writers go on meanwhile; what was written before, during and after it is there, and so is the size."""
    client.create(A, SMALL)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("one")
        small = os.statvfs(root).f_blocks
        ended = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            written = pool.submit(_write_until, root / "log", ended)
            for times in (2, 2, 3):  # the second time it is so already
                client.resize(A, times * SMALL)
                assert os.statvfs(root).f_blocks > (times - 0.1) * small
            ended.set()
            lines = written.result(60)
        (root / "large").write_bytes(bytes(range(256)) * (SMALL // 256))  # which it had no room for
        os.sync()
    client.detach(A)
    with volumed.mounted(A, tmp_path / "again") as root:
        assert os.statvfs(root).f_blocks > 2.9 * small
        assert (root / "file").read_text() == "one"
        assert (root / "log").read_text().splitlines() == [str(number) for number in range(lines)]
        assert (root / "large").stat().st_size == SMALL


@pytest.mark.requires("cap_sys_resource")
def test_file_device_and_filesystem_grow_together(volumed: Volumed, client: VolumeClient, tmp_path: Path) -> None:
    """As when volumed has it mounted, on kernels as well that clone no mount that is nowhere (before 6.15)."""
    client.create(A, SMALL)
    os.close(client.attach_file(A))
    assert volumed.process is not None
    [fuse] = [p for p in Path(f"/proc/{volumed.process.pid}/fd").iterdir() if (p / "checkpoints").is_dir()]
    mount_fd = os.open(fuse, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    bound, [device_fd] = errand.DOERS.do([mount_fd], to_errand.Bind("pilot/test", str(tmp_path)))
    assert isinstance(bound, to_errand.Bound)
    errand.DOERS.do([device_fd], to_errand.Format("a"))
    _, [ext4_fd] = errand.DOERS.do([device_fd], to_errand.Mount("a", bound.number))
    root = tmp_path / "m"
    root.mkdir()
    mounts.move_mount(ext4_fd, root)
    (root / "file").write_text("one")
    small, ended = os.statvfs(root).f_blocks, threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        written = pool.submit(_write_until, root / "log", ended)
        client.resize(A, 3 * SMALL)
        for _ in range(2):  # the second time it is so already
            errand.DOERS.do([mount_fd, device_fd, ext4_fd], to_errand.Grow(3 * SMALL))
            assert os.statvfs(root).f_blocks > 2.9 * small
        ended.set()
        lines = written.result(60)
    (root / "large").write_bytes(bytes(range(256)) * (SMALL // 256))  # which it had no room for
    os.sync()
    os.close(ext4_fd)
    mounts.umount(root)
    subprocess.run(["e2fsck", "-fn", f"/proc/self/fd/{device_fd}"], pass_fds=[device_fd], check=True)
    _, [again_fd] = errand.DOERS.do([device_fd], to_errand.Mount("a", bound.number))
    mounts.move_mount(again_fd, root)
    assert (root / "file").read_text() == "one"
    assert (root / "log").read_text().splitlines() == [str(number) for number in range(lines)]
    assert (root / "large").stat().st_size == SMALL
    os.close(again_fd)
    mounts.umount(root)
    os.close(device_fd)
    os.close(mount_fd)
    client.detach(A)


def _write_until(path: Path, ended: threading.Event) -> int:
    """Lines, each synced; how many."""
    count = 0
    with open(path, "w") as file:
        while not ended.is_set() or not count:
            file.write(f"{count}\n")
            file.flush()
            os.fsync(file.fileno())
            count += 1
    return count


def test_checkpoints_are_files_beside_the_disk(volumed: Volumed, client: VolumeClient) -> None:
    client.create(A, SIZE)
    fd = client.attach_file(A)
    try:
        os.pwrite(fd, b"one", 0)
        client.checkpoint(A, checkpoint=CheckpointId("first"))
        os.pwrite(fd, b"two", 0)
        # The file's directory is reachable only through the mount that volumed holds.
        process = volumed.process
        assert process is not None
        roots = [p for p in Path(f"/proc/{process.pid}/fd").iterdir() if (p / "checkpoints").is_dir()]
        assert [entry.name for entry in (roots[0] / "checkpoints").iterdir()] == ["first"]
        saved_fd = os.open(roots[0] / "checkpoints" / "first", os.O_RDWR)
        try:
            assert os.pread(saved_fd, 3, 0) == b"one"
            with pytest.raises(OSError, match="Read-only"):
                os.pwrite(saved_fd, b"x", 0)
        finally:
            os.close(saved_fd)
    finally:
        os.close(fd)
    client.detach(A)


def test_forks_both_ways_at_once_do_not_lock_each_other_out(client: VolumeClient) -> None:
    client.create(A, SIZE)
    client.create(B, SIZE)

    def fork(pair: tuple[VolumeId, VolumeId]) -> type[Exception]:
        with pytest.raises(errors.Conflict) as raised:
            client.fork(*pair)
        return raised.type

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fork, [(A, B), (B, A)] * 10)) == [errors.Conflict] * 20
