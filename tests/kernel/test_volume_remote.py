"""Volumes whose root is an object store: the host is lost, another one has them; two hosts want the same one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from tests.support import store as stores
from tests.support import volumed as support
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.kernel import directio, mounts
from pilot.volume.client import Volume, VolumeClient

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns")

SIZE = 4 << 30
A, B = VolumeId("a"), VolumeId("b")
Host = Callable[..., Volumed]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


@pytest.fixture
def host(tmp_path: Path, url: str) -> Iterator[Host]:
    """Volumeds by name, each with a state directory of its own and the same store."""
    made: dict[str, Volumed] = {}

    def start(name: str, *options: str, crash_at: str | None = None) -> Volumed:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        made[name] = Volumed(directory, "--store", url, *options)
        made[name].start(crash_at)
        return made[name]

    yield start
    for one in made.values():
        one.stop()


def _destroy(lost: Volumed, volume: VolumeId) -> None:
    """The host is gone: its processes killed, its state directory wiped."""
    lost.kill_together(volume, support.ALL)
    shutil.rmtree(lost.directory)


def _durable(client: VolumeClient, volume: VolumeId, when: Callable[[Volume], bool]) -> Volume:
    return stores.wait_for(lambda: found if when(found := client.stat(volume)) else None)


def _sync(root: Path) -> None:
    """This filesystem alone: `os.sync` would wait for those of every other test on this kernel."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        directio.sync_filesystem(fd)
    finally:
        os.close(fd)


def _check_ext4(host: Volumed, volume: VolumeId) -> None:
    fd = host.client.attach_file(volume)
    try:
        done = subprocess.run(
            ["e2fsck", "-fn", f"/proc/self/fd/{fd}"],
            pass_fds=(fd,),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        os.close(fd)
        host.client.detach(volume)


def test_a_detached_volume_is_adopted_with_all_it_holds(host: Host, tmp_path: Path) -> None:
    one, two = host("one"), host("two")
    one.client.create(A, SIZE)
    content = os.urandom(3 << 20)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "file").write_bytes(content)
        one.client.checkpoint(A, checkpoint=CheckpointId("save"))
        (root / "file").write_bytes(b"later")
    stat = one.client.stat(A)
    assert stat.durable_at is not None
    assert one.client.checkpoints(A)[0].durable_at is not None
    two.client.adopt(A)
    with two.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == b"later"
    two.client.restore(A, CheckpointId("save"))
    with two.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == content
    with pytest.raises(errors.StateError, match="holds it"):
        one.client.attach(A, 0, 1 << 32)
    _check_ext4(two, A)


def test_a_lost_host_loses_about_a_second(host: Host, tmp_path: Path) -> None:
    """An oracle of fsynced files, numbered: what comes back is a prefix of them, and no more than what was not yet
    called durable is missing."""
    one, two = host("one"), host("two")
    one.client.create(A, SIZE)
    place = tmp_path / "m"
    place.mkdir()
    mount_fd = one.client.attach(A, 0, 1 << 32)
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)
    acknowledged: list[int] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            try:
                _write_synced(place / f"{number:06}", str(number) * 500)
            except OSError:
                return  # the host is being destroyed
            acknowledged.append(number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        stores.wait_for(lambda: len(acknowledged) >= 50)
        before = len(acknowledged)
        seq = one.client.stat(A).remote_seq or 0
        # Two batches later everything that was acknowledged by now is in the store.
        _durable(one.client, A, lambda found: (found.remote_seq or 0) >= seq + 2)
    finally:
        _destroy(one, A)
        stop.set()
        mounts.umount(place, mounts.Unmount.DETACH)
        writer.join(30)
    two.client.adopt(A)
    with two.mounted(A, tmp_path / "n") as root:
        found = sorted(int(entry.name) for entry in root.iterdir() if entry.name.isdigit())
        assert len(found) >= before
        for number in found[:-1]:
            assert (root / f"{number:06}").read_text() == str(number) * 500
        assert found == list(range(len(found)))
    _check_ext4(two, A)


def _write_synced(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(fd, text.encode())
        os.fsync(fd)
    finally:
        os.close(fd)


def test_the_loser_of_two_holders_is_cut_off(host: Host, tmp_path: Path) -> None:
    one, two = host("one"), host("two")
    one.client.create(A, SIZE)
    place = tmp_path / "m"
    place.mkdir()
    mount_fd = one.client.attach(A, 0, 1 << 32)
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)
    _write_synced(place / "before", "x")
    seq = one.client.stat(A).remote_seq or 0
    _durable(one.client, A, lambda found: (found.remote_seq or 0) > seq and found.unsent_bytes == 0)
    two.client.adopt(A)

    def refused() -> bool:
        try:
            _write_synced(place / "after", "y")
        except OSError:
            return True
        return False

    stores.wait_for(refused)
    mounts.umount(place, mounts.Unmount.DETACH)
    with pytest.raises(errors.HostError, match="not all was written"):
        one.client.detach(A)
    assert one.client.stat(A).attached is None
    with two.mounted(A, tmp_path / "n") as root:
        assert (root / "before").read_text() == "x"
        assert not (root / "after").exists()


def test_a_fork_is_adopted_with_what_it_has_of_its_source(host: Host, tmp_path: Path) -> None:
    one, two = host("one"), host("two")
    one.client.create(A, SIZE)
    content = os.urandom(2 << 20)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "base").write_bytes(content)
    one.client.fork(A, B)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "base").write_bytes(b"the source went on")
    with one.mounted(B, tmp_path / "m") as root:
        (root / "own").write_text("fork")
    two.client.adopt(B)
    with two.mounted(B, tmp_path / "m") as root:
        assert (root / "base").read_bytes() == content
        assert (root / "own").read_text() == "fork"


def test_chunks_that_the_store_has_leave_a_host_with_little_room(host: Host, tmp_path: Path) -> None:
    one = host("one", "--cache-bytes", str(4 << 20))
    one.client.create(A, SIZE)
    content = {f"file{n}": os.urandom(2 << 20) for n in range(8)}
    with one.mounted(A, tmp_path / "m") as root:
        for name, data in content.items():
            (root / name).write_bytes(data)
        _sync(root)
        stores.wait_for(lambda: (one.client.stat(A).cold_bytes or 0) >= 8 << 20)
        stores.wait_for(lambda: one.client.stat(A).allocated_bytes < 12 << 20)
        Path("/proc/sys/vm/drop_caches").write_text("3")
        for name, data in content.items():
            assert (root / name).read_bytes() == data
    with one.mounted(A, tmp_path / "m") as root:
        for name, data in content.items():
            assert (root / name).read_bytes() == data
    _check_ext4(one, A)


def test_what_a_fork_reads_of_its_ancestors_stays_within_the_limit_too(host: Host, tmp_path: Path) -> None:
    one, two = host("one"), host("two", "--cache-bytes", str(4 << 20))
    one.client.create(A, SIZE)
    content = os.urandom(16 << 20)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "file").write_bytes(content)
    one.client.fork(A, B)
    with one.mounted(B, tmp_path / "m") as root:
        (root / "own").write_text("fork")
    base = two.directory / "volumes" / "disks" / one.client.stat(A).disk / "slab"
    two.client.adopt(B)
    with two.mounted(B, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == content
        assert (root / "own").read_text() == "fork"
        stores.wait_for(lambda: base.stat().st_blocks * 512 <= 5 << 20)
        Path("/proc/sys/vm/drop_caches").write_text("3")
        assert (root / "file").read_bytes() == content
    with two.mounted(B, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == content
    _check_ext4(two, B)


def test_an_fsync_can_wait_for_the_store(host: Host, tmp_path: Path) -> None:
    """Nothing that was fsynced is lost with the host, not even the last second."""
    one, two = host("one", "--durability", "remote"), host("two")
    one.client.create(A, SIZE)
    place = tmp_path / "m"
    place.mkdir()
    mount_fd = one.client.attach(A, 0, 1 << 32)
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)
    for number in range(8):
        _write_synced(place / f"{number}", str(number) * 500)
    _destroy(one, A)
    mounts.umount(place, mounts.Unmount.DETACH)
    two.client.adopt(A)
    with two.mounted(A, tmp_path / "n") as root:
        for number in range(8):
            assert (root / f"{number}").read_text() == str(number) * 500
    _check_ext4(two, A)


def test_a_damaged_or_missing_chunk_is_an_error_and_never_zeros(host: Host, tmp_path: Path, url: str) -> None:
    one, two = host("one"), host("two", "--cache-bytes", "1048576")
    one.client.create(A, SIZE)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "file").write_bytes(os.urandom(4 << 20))
    two.client.adopt(A)
    with two.mounted(A, tmp_path / "m") as root:
        for entry in (tmp_path / "store").glob("vol/*/seg/*"):
            damaged = bytearray(entry.read_bytes())
            for at in range(len(damaged) // 2, len(damaged)):
                damaged[at] ^= 0xFF
            entry.write_bytes(damaged)
        with pytest.raises(OSError, match="Input/output error"):
            (root / "file").read_bytes()


def test_uploads_survive_the_death_of_their_worker(host: Host, tmp_path: Path) -> None:
    one, two = host("one"), host("two")
    one.client.create(A, SIZE)
    with one.mounted(A, tmp_path / "m") as root:
        for number in range(6):
            (root / f"{number}").write_bytes(os.urandom(1 << 20))
            _sync(root)
            os.kill(one.worker(A), signal.SIGKILL)
        content = {entry.name: entry.read_bytes() for entry in root.iterdir() if entry.is_file()}
    assert len(content) == 6
    two.client.adopt(A)
    with two.mounted(A, tmp_path / "m") as root:
        assert {entry.name: entry.read_bytes() for entry in root.iterdir() if entry.is_file()} == content
    _check_ext4(two, A)


def test_a_deleted_volume_leaves_the_store_and_a_living_fork_keeps_its_source(host: Host, tmp_path: Path) -> None:
    one, two = host("one"), host("two")
    one.client.create(A, SIZE)
    content = os.urandom(1 << 20)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "file").write_bytes(content)
    one.client.fork(A, B)
    with one.mounted(B, tmp_path / "m"):
        pass
    two.client.adopt(B)
    one.client.delete(B)  # its copy: the volume is another host's now
    one.client.delete(A)
    with two.mounted(B, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == content
    two.client.delete(B)
    with pytest.raises(errors.NotFound):
        two.client.adopt(B)
    assert not list((tmp_path / "store").glob("name/*"))


def test_a_fork_on_another_host_keeps_its_deleted_base(host: Host, tmp_path: Path) -> None:
    one, two = host("one"), host("two")
    one.client.create(A, SIZE)
    content = os.urandom(1 << 20)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "file").write_bytes(content)
    one.client.seal(A)
    one.client.fork(A, B)
    with one.mounted(B, tmp_path / "m"):
        pass
    two.client.adopt(B)
    one.client.delete(B)  # its copy: nothing here tells of a fork any more
    one.client.delete(A)
    with two.mounted(B, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == content


def test_a_copy_of_a_deleted_base_is_not_forked(host: Host, tmp_path: Path) -> None:
    """Its fork would be sent to the store as if the base were there."""
    one, two = host("one"), host("two")
    one.client.create(A, SIZE)
    with one.mounted(A, tmp_path / "m"):
        pass
    one.client.seal(A)
    two.client.adopt(A)
    two.client.delete(A)
    with pytest.raises(errors.NotFound):
        one.client.fork(A, B)
    one.client.delete(A)


def test_over_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    hosts: list[Volumed] = []
    try:
        address, port = server.get_host_and_port()
        endpoint = f"http://{address}:{port}"
        stores.use_s3(monkeypatch, endpoint, "bucket")
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            hosts.append(Volumed(tmp_path / name, "--store", "s3://bucket/prefix"))
            hosts[-1].start()
        one, two = hosts
        one.client.create(A, SIZE)
        content = os.urandom(3 << 20)
        with one.mounted(A, tmp_path / "m") as root:
            (root / "file").write_bytes(content)
        two.client.adopt(A, one.client.stat(A).url)
        with two.mounted(A, tmp_path / "m") as root:
            assert (root / "file").read_bytes() == content
        _check_ext4(two, A)
    finally:
        for one in hosts:
            one.stop()
        server.stop()


@pytest.mark.parametrize("point", ["upload: stored", "evict: cold, not punched"])
def test_a_worker_killed_at(point: str, host: Host, tmp_path: Path) -> None:
    one, two = host("one", "--cache-bytes", "1048576", crash_at=point), host("two")
    one.client.create(A, SIZE)
    content = os.urandom(4 << 20)
    crashes = one.directory / "crash-once"
    crashes.unlink()  # not while it is being mounted: what it writes then may be stored at once
    with one.mounted(A, tmp_path / "m") as root:
        crashes.touch()
        (root / "file").write_bytes(content)
        _sync(root)
        stores.wait_for(lambda: not crashes.exists())
        Path("/proc/sys/vm/drop_caches").write_text("3")
        assert (root / "file").read_bytes() == content
        assert stores.wait_for(lambda: one.client.stat(A).worker_restarts) == 1
        (root / "after").write_text("x")
    two.client.adopt(A)
    with two.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_bytes() == content
        assert (root / "after").read_text() == "x"
    _check_ext4(two, A)


@pytest.mark.parametrize("point", ["adopt: taken over", "adopt: renamed"])
def test_adopting_is_done_again_after_a_crash(point: str, host: Host, tmp_path: Path) -> None:
    one = host("one")
    one.client.create(A, SIZE)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("x")
    two = host("two", crash_at=point)
    with pytest.raises(errors.PeerError):
        two.client.adopt(A)
    two.wait_killed()
    two.start()
    two.client.adopt(A)
    with two.mounted(A, tmp_path / "m") as root:
        assert (root / "file").read_text() == "x"


def test_what_was_registered_and_never_made_can_be_adopted(host: Host, tmp_path: Path) -> None:
    one = host("one", crash_at="create: registered")
    with pytest.raises(errors.PeerError):
        one.client.create(A, SIZE)
    one.wait_killed()
    one.start()
    with pytest.raises(errors.Conflict, match="exists in file:"):
        one.client.create(A, SIZE)
    one.client.adopt(A)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("x")
    with pytest.raises(errors.Conflict):
        one.client.adopt(A)
    with pytest.raises(errors.NotFound):
        one.client.adopt(B)
    with pytest.raises(errors.PilotError, match="not in this host's store"):
        one.client.adopt(B, "s3://elsewhere/vol/0123456789abcdef")


def test_forks_of_an_adopted_volume_read_through_it(host: Host, tmp_path: Path) -> None:
    """Base → sprite → its fork, each adopted or forked where nothing of the one before has been fetched yet."""
    one, two, three = host("one"), host("two"), host("three")
    one.client.create(A, SIZE)
    with one.mounted(A, tmp_path / "m") as root:
        (root / "base").write_text("base" * 1000)
    one.client.seal(A)
    one.client.fork(A, B)
    with one.mounted(B, tmp_path / "m") as root:
        (root / "own").write_text("own" * 1000)
    two.client.adopt(B)
    two.client.fork(B, VolumeId("c"))
    for at in (two, three):
        if at is three:
            three.client.adopt(VolumeId("c"))
        with at.mounted(VolumeId("c"), tmp_path / "m") as root:
            assert (root / "base").read_text() == "base" * 1000
            assert (root / "own").read_text() == "own" * 1000
    two.client.delete(B)
    _check_ext4(three, VolumeId("c"))
