"""Volumes: the same work on one of ours and on ext4 on loop, turn by turn; then what only a volume can do.

`server_cpu_ms` is the processor time of the volume's worker (a loop device has a kernel thread, which nobody counts).
The rounds of `--rounds` are for the quick things; what takes seconds is done a tenth as often, but five times.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.support.volumed import Volumed

from pilot import image
from pilot.ids import CheckpointId, VolumeId
from pilot.image import cache
from pilot.kernel import mounts

from . import disks, diskwork, harness
from .disks import Disk
from .harness import Contender, Sample, Table

_PLAIN = "ext4 on loop"
_BASE = VolumeId("base")
_CHUNK = 64 << 10
_FILLED_BYTES = 10 << 30
_LIVE_BYTES_PER_S = 60e6


def run(rounds: int) -> Sequence[Table]:
    """All tables."""
    few = max(5, rounds // 10)
    with tempfile.TemporaryDirectory(prefix="pilot-bench-", dir="/var/tmp") as name, disks.daemon(Path(name, "s")) as v:
        directory = Path(name)
        return [
            *_files(v, directory, few), *_rates(v, directory, few), *_checkpoints(v, directory, rounds),
            _life(v, directory, rounds), _memory(v),
        ]  # fmt: skip


# ---- the same work on both ------------------------------------------------------------------------------------------


def _files(volumed: Volumed, directory: Path, rounds: int) -> Sequence[Table]:
    tar = Path(image.ensure_world_tar(cache.DEFAULT, "minimal"))
    works: dict[str, Callable[[Disk], Sample]] = {
        f"untar of {tar.stat().st_size >> 20} MiB and syncfs": lambda disk: diskwork.untar(disk, tar),
        "500 × write, fsync, rename": diskwork.packages,
        "500 transactions of SQLite, synchronous=FULL": diskwork.sqlite,
    }
    with _both(volumed, directory) as pair:
        return [_compare(title, pair, work, rounds, "wall_ms") for title, work in works.items()]


def _rates(volumed: Volumed, directory: Path, rounds: int) -> Sequence[Table]:
    with _both(volumed, directory) as pair:
        return [
            _compare(job.title, pair, functools.partial(diskwork.fio, job=job), rounds, diskwork.unit(job))
            for job in diskwork.FIO
        ]


@contextlib.contextmanager
def _both(volumed: Volumed, directory: Path) -> Iterator[Sequence[Disk]]:
    with (
        tempfile.TemporaryDirectory(prefix="disks-", dir=directory) as name,
        disks.plain(Path(name)) as plain,
        disks.volume(volumed, VolumeId("bench"), Path(name, "volume")) as ours,
    ):
        yield plain, ours


def _compare(title: str, pair: Sequence[Disk], work: Callable[[Disk], Sample], rounds: int, column: str) -> Table:
    contenders = [Contender(disk.name, functools.partial(work, disk)) for disk in pair]
    samples = harness.interleave(contenders, rounds, warmup=1)
    return harness.make_table(title, samples, [_PLAIN], column)


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def _checkpoints(volumed: Volumed, directory: Path, rounds: int) -> Sequence[Table]:
    """Of a disk at rest, of one whose chunks lie anywhere, and of one that is being written."""
    with disks.volume(volumed, VolumeId("saved"), directory / "saved") as disk:
        samples = {"clean": _save(volumed, rounds)}
        _fragment(disk)
        samples["fragmented"] = _save(volumed, rounds)
        with _live_writer(disk):
            samples["live"] = _save(volumed, rounds)
    note = (
        "live: a writer of 60 MB/s in pieces of 64 KiB. `crash_consistent`: the share that was cut without the freeze."
    )
    return [
        harness.make_table(f"checkpoint: {what}", samples, [], column, note)
        for what, column in (("writers held", "frozen_ms"), ("the whole call", "call_ms"))
    ]


def _save(volumed: Volumed, rounds: int) -> list[Sample]:
    samples: list[Sample] = []
    for number in range(rounds):
        name = CheckpointId(f"c{number}")
        begin = time.perf_counter()
        made = volumed.client.checkpoint(VolumeId("saved"), checkpoint=name)
        call_ms = (time.perf_counter() - begin) * 1e3
        samples.append({"frozen_ms": made.frozen_ms, "call_ms": call_ms, "crash_consistent": float(not made.clean)})
        volumed.client.delete_checkpoint(VolumeId("saved"), name)
    return samples


def _fragment(disk: Disk) -> None:
    """1 GiB, then 4 KiB at random places of it, between checkpoints of nobody: chunks end up in any order."""
    chance = random.Random(4)
    with open(disk.root / "fragments", "wb+", buffering=0) as file:
        for _ in range(1024):
            file.write(chance.randbytes(1 << 20))
        os.fsync(file.fileno())
        for number in range(20_000):
            os.pwrite(file.fileno(), chance.randbytes(4096), chance.randrange(1 << 18) * 4096)
            if number % 2000 == 0:
                os.fsync(file.fileno())
    disk.sync()


@contextlib.contextmanager
def _live_writer(disk: Disk) -> Iterator[None]:
    stop = threading.Event()
    writer = threading.Thread(target=_write_live, args=(disk.root / "live", stop), name="live")
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def _write_live(path: Path, stop: threading.Event) -> None:
    data = os.urandom(_CHUNK)
    with open(path, "wb", buffering=0) as file:
        begin = time.monotonic()
        for number in itertools.count(1):
            os.pwrite(file.fileno(), data, number % 8192 * _CHUNK)
            ahead = number * _CHUNK / _LIVE_BYTES_PER_S - (time.monotonic() - begin)
            if ahead < -1:
                begin -= ahead  # held by a freeze: not made up for, or the rate would be another
            if stop.wait(max(0.0, ahead)):
                return


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
    yield "fork of a mounted disk", _time(lambda: client.fork(volume, empty))
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


def _restore_and_mount(volumed: Volumed, volume: VolumeId, place: Path) -> None:
    volumed.client.restore(volume, CheckpointId("v1"))
    _mount(volumed, volume, place)


def _time(action: Callable[[], None]) -> float:
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1e3


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
    finally:
        os.close(fd)
    volumed.client.detach(volume)
    os.close(volumed.client.attach_file(volume))
    samples["10 GiB, attached again"] = [_resident(volumed.worker(volume))]
    volumed.client.detach(volume)
    volumed.client.delete(volume)
    note = "Rss counts pages shared with other workers in full, Pss by share; one worker ran."
    return harness.make_table("memory of the worker of a 10 GiB disk", samples, [], "rss_mib", note)


def _resident(pid: int) -> Sample:
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
    return {"rss_mib": kib["Rss"] / 1024, "pss_mib": kib["Pss"] / 1024, "anonymous_mib": kib["Anonymous"] / 1024}
