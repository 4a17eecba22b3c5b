"""The disks that the volume benchmark compares, all on one host filesystem: a volume of ours, a plain ext4 on loop, and
what any FUSE server at all could reach.

    ext4 on loop     sparse file ─ loop, direct I/O ─ ext4, made and mounted with the same options
    C floor          sparse file ─ fuse_floor.c ─ FUSE ─ loop, direct I/O ─ ext4, likewise
    volume           slab and meta.db ─ worker ─ FUSE ─ loop, direct I/O ─ ext4

Each is a mounted directory, the processor time that its servers have used, and a way to be rid of cached pages.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
from tests.support.volumed import Volumed

from pilot.ids import VolumeId
from pilot.kernel import directio, loop, mounts

from . import harness

SIZE_BYTES = 16 << 30
_FLOOR_SOURCE = Path(__file__).with_name("fuse_floor.c")
_FLOOR_THREADS = 4  # as many as a worker has
_END_TIMEOUT_S = 10
_MKFS = "mkfs.ext4 -q -F -m 0 -i 32768 -J size=64 -E nodiscard,assume_storage_prezeroed=1"
_TICKS = os.sysconf("SC_CLK_TCK")


class Disk(msgspec.Struct, frozen=True):
    """`servers`: processes that exist for this disk alone."""

    name: str
    root: Path
    servers: tuple[int, ...]

    def sync(self) -> None:
        """All of it is stable when this returns."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            directio.sync_filesystem(fd)
        finally:
            os.close(fd)

    def server_cpu_ms(self) -> float:
        """Processor time that its servers have used so far."""
        return sum(map(_cpu_ms, self.servers))


def _cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / _TICKS


@contextlib.contextmanager
def plain(directory: Path) -> Iterator[Disk]:
    """An ext4 on a loop device on a sparse file."""
    with _ext4_on_loop(_make_sparse(directory / "plain.img"), directory / "plain") as root:
        yield Disk("ext4 on loop", root, ())


@contextlib.contextmanager
def floor(directory: Path) -> Iterator[Disk]:
    """The same on the file of a FUSE server that does nothing but pass on what it is asked for."""
    with (
        _passed_on(_make_sparse(directory / "floor.img"), harness.build(_FLOOR_SOURCE, directory)) as (file, pid),
        _ext4_on_loop(file, directory / "floor") as root,
    ):
        yield Disk("C floor", root, (pid,))


def _make_sparse(path: Path) -> Path:
    with open(path, "wb") as file:
        file.truncate(SIZE_BYTES)
    return path


@contextlib.contextmanager
def _passed_on(backing: Path, program: Path) -> Iterator[tuple[Path, int]]:
    """The file that FUSE shows, and the pid of its server, which lives as long as the filesystem."""
    with open("/dev/fuse", "r+b", buffering=0) as fuse:
        options = {"source": "pilot-bench", "fd": str(fuse.fileno())}
        mount_fd = mounts.mount_detached("fuse", options | {"rootmode": "40000", "user_id": "0", "group_id": "0"})
        command = [str(word) for word in (program, fuse.fileno(), backing, _FLOOR_THREADS)]
        # Of its own group: Ctrl-C must not end it before what is mounted on it.
        server = subprocess.Popen(command, pass_fds=(fuse.fileno(),), process_group=0)
    try:
        yield Path(f"/proc/self/fd/{mount_fd}/disk"), server.pid
    finally:
        os.close(mount_fd)
        if status := server.wait(_END_TIMEOUT_S):
            raise RuntimeError(f"{' '.join(command)}: exit status {status}")


@contextlib.contextmanager
def _ext4_on_loop(backing: Path, place: Path) -> Iterator[Path]:
    """A new ext4 on a file, mounted at `place`."""
    name = f"pilot-bench-{place.name}"
    backing_fd = os.open(backing, os.O_RDWR | os.O_CLOEXEC)
    try:
        number, device_fd = loop.attach(backing_fd, name, str(place.parent))
    finally:
        os.close(backing_fd)
    try:
        device = f"/proc/self/fd/{device_fd}"
        subprocess.run([*_MKFS.split(), device], pass_fds=(device_fd,), check=True)
        with _mounted_ext4(device, place):
            yield place
    finally:
        os.close(device_fd)
        loop.wait_unbound(number, name, str(place.parent), _END_TIMEOUT_S)


@contextlib.contextmanager
def _mounted_ext4(device: str, place: Path) -> Iterator[None]:
    place.mkdir()
    mounted = mounts.mount_detached("ext4", {"source": device, "discard": None}, mounts.Attribute.NODEV)
    try:
        mounts.move_mount(mounted, place)
    finally:
        os.close(mounted)
    try:
        yield
    finally:
        mounts.umount(place)


@contextlib.contextmanager
def volume(volumed: Volumed, name: VolumeId, place: Path) -> Iterator[Disk]:
    """A new volume, mounted."""
    volumed.client.create(name, SIZE_BYTES)
    with volumed.mounted(name, place) as root:
        yield Disk("volume", root, (volumed.worker(name),))
    volumed.client.delete(name)


@contextlib.contextmanager
def daemon(directory: Path) -> Iterator[Volumed]:
    """A volumed of our own below `directory`."""
    directory.mkdir()
    volumed = Volumed(directory)
    volumed.start()
    try:
        yield volumed
    finally:
        volumed.stop()
