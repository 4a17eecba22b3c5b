"""Volumes: the same work on ext4 on loop, on the C floor and on one of ours, turn by turn; then what only ours can do.

`server_cpu_ms` is the processor time of the volume's worker, or of the floor's server (a loop device has a kernel
thread, which nobody counts).
What takes milliseconds is done twice as often as `--rounds` says, so that a p99 means something; what takes seconds a
tenth as often, but five times.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.support.volumed import Volumed

from pilot import image
from pilot.ids import CheckpointId, VolumeId
from pilot.image import cache
from pilot.kernel import mounts

from . import checkpoint, disks, diskwork, harness
from .disks import Disk
from .harness import Contender, Sample, Table

_YARDSTICKS = ("ext4 on loop", "C floor")
_NOTE = "C floor: a FUSE server that passes on what it is asked for to a sparse file."
_BASE = VolumeId("base")
_CHUNK = 64 << 10
_FILLED_BYTES = 10 << 30


def run(rounds: int) -> Sequence[Table]:
    """All tables."""
    few, many = max(5, rounds // 10), 2 * rounds
    with tempfile.TemporaryDirectory(prefix="pilot-bench-", dir="/var/tmp") as name, disks.daemon(Path(name, "s")) as v:
        directory = Path(name)
        return [
            *_files(v, directory, few), *_rates(v, directory, few), *checkpoint.tables(v, directory, many),
            _life(v, directory, many), _memory(v),
        ]  # fmt: skip


# ---- the same work on each ------------------------------------------------------------------------------------------


def _files(volumed: Volumed, directory: Path, rounds: int) -> Sequence[Table]:
    tar = Path(image.ensure_world_tar(cache.DEFAULT, "minimal"))
    works: dict[str, Callable[[Disk], Sample]] = {
        f"untar of {tar.stat().st_size >> 20} MiB and syncfs": lambda disk: diskwork.untar(disk, tar),
        "500 × write, fsync, rename": diskwork.packages,
        "500 transactions of SQLite, synchronous=FULL": diskwork.sqlite,
    }
    with _rivals(volumed, directory) as rivals:
        return [_compare(title, rivals, work, rounds, "wall_ms") for title, work in works.items()]


def _rates(volumed: Volumed, directory: Path, rounds: int) -> Sequence[Table]:
    with _rivals(volumed, directory) as rivals:
        return [
            _compare(job.title, rivals, functools.partial(diskwork.fio, job=job), rounds, diskwork.unit(job))
            for job in diskwork.FIO
        ]


@contextlib.contextmanager
def _rivals(volumed: Volumed, directory: Path) -> Iterator[Sequence[Disk]]:
    with (
        tempfile.TemporaryDirectory(prefix="disks-", dir=directory) as name,
        disks.plain(Path(name)) as plain,
        disks.floor(Path(name)) as floor,
        disks.volume(volumed, VolumeId("bench"), Path(name, "volume")) as ours,
    ):
        yield plain, floor, ours


def _compare(title: str, rivals: Sequence[Disk], work: Callable[[Disk], Sample], rounds: int, column: str) -> Table:
    contenders = [Contender(disk.name, functools.partial(work, disk)) for disk in rivals]
    samples = harness.interleave(contenders, rounds, warmup=1)
    return harness.make_table(title, samples, _YARDSTICKS, column, _NOTE)


# ---- the life of a disk ---------------------------------------------------------------------------------------------


def _life(volumed: Volumed, directory: Path, rounds: int) -> Table:
    """A base with a file in it; forks of it come and go."""
    volumed.client.create(_BASE, disks.SIZE_BYTES)
    place = directory / "life"
    with volumed.mounted(_BASE, place) as root:
        (root / "file").write_bytes(os.urandom(64 << 20))
    volumed.client.seal(_BASE)
    samples: dict[str, list[Sample]] = {}
    for number in range(rounds):
        for name, wall_ms in _one_life(volumed, VolumeId(f"life-{number}"), place):
            samples.setdefault(name, []).append({"wall_ms": wall_ms})
    note = "attach: until the filesystem is mounted and listed. restore: while detached; then it is attached again."
    return harness.make_table("create, fork, attach, detach, restore, delete", samples, [], "wall_ms", note)


def _one_life(volumed: Volumed, volume: VolumeId, place: Path) -> Iterator[tuple[str, float]]:
    client = volumed.client
    empty = VolumeId(f"{volume}-empty")
    yield "create, empty", _time(lambda: client.create(empty, disks.SIZE_BYTES))
    client.delete(empty)
    yield "fork of a sealed base", _time(lambda: client.fork(_BASE, volume))
    yield "attach and mount", _time(lambda: _mount(volumed, volume, place))
    (place / "more").write_bytes(bytes(range(256)) * 4096)
    client.checkpoint(volume)
    second = place.with_name("fork")
    yield "fork of a mounted disk, attach and mount", _time(lambda: _fork_and_mount(volumed, volume, empty, second))
    mounts.umount(second)
    client.detach(empty)
    client.delete(empty)
    mounts.umount(place)
    yield "detach", _time(lambda: client.detach(volume))
    yield "restore", _time(lambda: client.restore(volume, CheckpointId("v1")))
    yield "restore, attach and mount", _time(lambda: _restore_and_mount(volumed, volume, place))
    mounts.umount(place)
    client.detach(volume)
    yield "delete", _time(lambda: client.delete(volume))


def _mount(volumed: Volumed, volume: VolumeId, place: Path) -> None:
    place.mkdir(exist_ok=True)
    mount_fd = volumed.client.attach(volume, 0, 1 << 32)
    try:
        mounts.move_mount(mount_fd, place)
    finally:
        os.close(mount_fd)
    assert os.listdir(place)


def _fork_and_mount(volumed: Volumed, volume: VolumeId, fork: VolumeId, place: Path) -> None:
    volumed.client.fork(volume, fork)
    _mount(volumed, fork, place)


def _restore_and_mount(volumed: Volumed, volume: VolumeId, place: Path) -> None:
    volumed.client.restore(volume, CheckpointId("v1"))
    _mount(volumed, volume, place)


def _time(action: Callable[[], None]) -> float:
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1e3


# Lanes that nobody asks give their buffers back after two to four seconds (native/volume/rest.c).
_AT_REST_S = 6


# ---- memory ---------------------------------------------------------------------------------------------------------


def _memory(volumed: Volumed) -> Table:
    """A worker that has mapped, and looked at, every chunk of 10 GiB."""
    volume = VolumeId("full")
    volumed.client.create(volume, disks.SIZE_BYTES)
    fd = volumed.client.attach_file(volume)
    samples: dict[str, list[Sample]] = {"just attached": [_resident(volumed.worker(volume))]}
    try:
        for chunk in range(_FILLED_BYTES // _CHUNK):
            os.pwrite(fd, b"\1" * 4096, chunk * _CHUNK)
        os.fsync(fd)
        samples["after mapping 10 GiB"] = [_resident(volumed.worker(volume))]
        time.sleep(_AT_REST_S)
        samples["after mapping 10 GiB, idle"] = [_resident(volumed.worker(volume))]
    finally:
        os.close(fd)
    volumed.client.detach(volume)
    os.close(volumed.client.attach_file(volume))
    samples["10 GiB, attached again"] = [_resident(volumed.worker(volume))]
    time.sleep(_AT_REST_S)
    samples["10 GiB, attached again, idle"] = [_resident(volumed.worker(volume))]
    volumed.client.detach(volume)
    volumed.client.delete(volume)
    note = "Rss counts pages shared with other workers in full, Pss by share; one worker ran."
    return harness.make_table("memory of the worker of a 10 GiB disk", samples, [], "rss_mb", note)


def _resident(pid: int) -> Sample:
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
    return {f"{name.lower()}_mb": kib[name] * 1024 / 1e6 for name in ("Rss", "Pss", "Anonymous")}
