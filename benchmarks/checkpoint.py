"""Checkpoints of a volume: at rest, with many files, with chunks in any order, with much to write, while it is written.

There is a pause before each. Back to back they would find the kernel's freeze warm from the last one (docs/decisions/
volume-freeze-short-grace-periods.md), which nobody who takes a checkpoint now and then ever does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.support.volumed import Volumed

from pilot.ids import CheckpointId, VolumeId

from . import disks, harness
from .disks import Disk
from .harness import Sample, Table

_VOLUME = VolumeId("saved")
_PAUSE_S = 0.1
_CHUNK = 64 << 10
_FILES = 100_000
_FRAGMENTS = 180_000
_DIRTY_BYTES = 100_000_000
_LIVE_BYTES_PER_S = 60e6
_NOTE = (
    "frozen: from before FIFREEZE until after FITHAW, as volumed saw it. 100 MB: written just before, and not synced. "
    "live: a writer of 60 MB/s in pieces of 64 KiB. `crash_consistent`: the share that was cut without the freeze."
)


def tables(volumed: Volumed, directory: Path, rounds: int) -> Sequence[Table]:
    """How long writers were held, and how long the call took."""
    samples: dict[str, list[Sample]] = {}
    with disks.volume(volumed, _VOLUME, directory / "saved") as disk:
        samples["clean"] = _save(volumed, rounds)
        _make_files(disk)
        samples["100k files"] = _save(volumed, rounds)
        _fragment(disk)
        samples["fragmented"] = _save(volumed, rounds)
        samples["100 MB dirty"] = _save(volumed, max(5, rounds // 5), lambda: _write_much(disk))
        with _live_writer(disk):
            samples["live"] = _save(volumed, rounds)
    return [
        harness.make_table(f"checkpoint: {what}", samples, [], column, _NOTE)
        for what, column in (("writers held", "frozen_ms"), ("the whole call", "call_ms"))
    ]


def _save(volumed: Volumed, rounds: int, before: Callable[[], None] = lambda: None) -> list[Sample]:
    samples: list[Sample] = []
    for number in range(rounds):
        name = CheckpointId(f"c{number}")
        time.sleep(_PAUSE_S)
        before()
        begin = time.perf_counter()
        made = volumed.client.checkpoint(_VOLUME, checkpoint=name)
        call_ms = (time.perf_counter() - begin) * 1e3
        samples.append({"frozen_ms": made.frozen_ms, "call_ms": call_ms, "crash_consistent": float(not made.clean)})
        volumed.client.delete_checkpoint(_VOLUME, name)
    return samples


def _make_files(disk: Disk) -> None:
    """Small files, a thousand to a directory."""
    for first in range(0, _FILES, 1000):
        directory = disk.root / f"d{first}"
        directory.mkdir()
        for number in range(1000):
            (directory / f"f{number}").write_bytes(b"file")
    disk.sync()


def _fragment(disk: Disk) -> None:
    """1 GiB, then 4 KiB at random places of it, between checkpoints of nobody: chunks end up in any order."""
    chance = random.Random(4)
    with open(disk.root / "fragments", "wb+", buffering=0) as file:
        for _ in range(1024):
            file.write(chance.randbytes(1 << 20))
        os.fsync(file.fileno())
        for number in range(_FRAGMENTS):
            os.pwrite(file.fileno(), chance.randbytes(4096), chance.randrange(1 << 18) * 4096)
            if number % 2000 == 0:
                os.fsync(file.fileno())
    disk.sync()


def _write_much(disk: Disk) -> None:
    """In place: what truncates a file and writes it anew has its pages written out when it is closed (ext4)."""
    fd = os.open(disk.root / "dirty", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        for number in range(_DIRTY_BYTES // 100_000):
            os.pwrite(fd, os.urandom(100_000), number * 100_000)
    finally:
        os.close(fd)


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
