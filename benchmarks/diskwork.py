"""What programs do with a disk: each function does it once in a directory, and tells how long, or how fast.

untar      a Debian root filesystem, until it is stable          sqlite   transactions, synchronous=FULL
packages   write, fsync, rename, as dpkg does                    fio      rates of plain reads and writes, O_DIRECT
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from .disks import Disk
from .harness import Sample

_TIMES = 500


class Fio(msgspec.Struct, frozen=True):
    """One job of fio. `side` ("read" or "write") and `rate` ("bw" or "iops") name what of its report counts.

    The jobs share one file; `anew` removes it first.
    """

    title: str
    side: str
    rate: str
    options: str
    anew: bool = False


_DEEP = "--ioengine=libaio --iodepth"
FIO = (
    Fio("sequential write, 1 MiB", "write", "bw", f"--rw=write --bs=1M {_DEEP}=4 --fallocate=none", anew=True),
    Fio("sequential read, 1 MiB", "read", "bw", f"--rw=read --bs=1M {_DEEP}=4"),
    Fio("random read, 4 KiB, 16 at a time", "read", "iops", f"--rw=randread --bs=4k {_DEEP}=16 --io_size=64M"),
    Fio("random write, 4 KiB, 16 at a time", "write", "iops", f"--rw=randwrite --bs=4k {_DEEP}=16 --io_size=64M"),
    Fio("write and fdatasync, 4 KiB", "write", "iops", "--rw=randwrite --bs=4k --fdatasync=1 --io_size=4M"),
)


def untar(disk: Disk, tar: Path) -> Sample:
    """Unpack `tar`, until it is stable; removed again outside of the time."""
    target = disk.root / "tree"
    target.mkdir()
    disk.sync()
    with _timed(disk) as sample:
        subprocess.run(["tar", "-xf", str(tar), "-C", str(target)], check=True)
        disk.sync()
    shutil.rmtree(target)
    disk.sync()
    return sample


def packages(disk: Disk) -> Sample:
    """Files of 8 KiB under a temporary name, made stable, renamed."""
    target = disk.root / "packages"
    target.mkdir()
    data = os.urandom(8192)
    disk.sync()
    with _timed(disk) as sample:
        for number in range(_TIMES):
            path = target / f"f{number}"
            with open(f"{path}.dpkg-new", "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(f"{path}.dpkg-new", path)
    shutil.rmtree(target)
    return sample


def sqlite(disk: Disk) -> Sample:
    """Transactions of one row each, in a database with a write-ahead log."""
    path = disk.root / "database"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
        database.execute("create table t(number integer, data blob)")
        disk.sync()
        with _timed(disk) as sample:
            for number in range(_TIMES):
                database.execute("insert into t values(?, randomblob(400))", (number,))
    path.unlink()
    return sample


def fio(disk: Disk, job: Fio) -> Sample:
    """The rate of a job over a file of 512 MiB, which stays for the next job."""
    path = disk.root / "fio"
    if job.anew:
        path.unlink(missing_ok=True)
        disk.sync()
    before = disk.server_cpu_ms()
    command = ["fio", "--name=job", f"--filename={path}", "--size=512M", "--direct=1", "--output-format=json"]
    done = subprocess.run([*command, *job.options.split()], capture_output=True, text=True, check=True, timeout=300)
    side = json.loads(done.stdout)["jobs"][0][job.side]
    rate = side["bw_bytes"] / 1e6 if job.rate == "bw" else side["iops"]
    return {unit(job): rate, "server_cpu_ms": disk.server_cpu_ms() - before}


def unit(job: Fio) -> str:
    """What the rate of a job is counted in."""
    return "mb_per_s" if job.rate == "bw" else "iops"


@contextlib.contextmanager
def _timed(disk: Disk) -> Iterator[dict[str, float]]:
    sample: dict[str, float] = {}
    before, begin = disk.server_cpu_ms(), time.perf_counter()
    yield sample
    sample["wall_ms"] = (time.perf_counter() - begin) * 1e3
    sample["server_cpu_ms"] = disk.server_cpu_ms() - before
