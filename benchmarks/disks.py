"""The disks that the volume benchmark compares, all on one host filesystem: a volume of ours, and a plain ext4 on loop.

    ext4 on loop     sparse file ─ loop, direct I/O ─ ext4, made and mounted with the same options
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

SIZE_BYTES = 16 << 30
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
    backing, place = directory / "plain.img", directory / "plain"
    place.mkdir()
    with open(backing, "wb") as file:
        file.truncate(SIZE_BYTES)
    subprocess.run([*_MKFS.split(), str(backing)], check=True)
    backing_fd = os.open(backing, os.O_RDWR | os.O_CLOEXEC)
    number, device_fd = loop.attach(backing_fd, "pilot-bench", str(directory))
    os.close(backing_fd)
    mounted = mounts.mount_detached("ext4", {"source": f"/proc/self/fd/{device_fd}", "discard": None})
    mounts.move_mount(mounted, place)
    os.close(mounted)
    try:
        yield Disk("ext4 on loop", place, ())
    finally:
        mounts.umount(place)
        os.close(device_fd)
        loop.wait_unbound(number, "pilot-bench", str(directory), 10)


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
