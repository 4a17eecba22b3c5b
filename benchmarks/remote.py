"""Volumes whose root is an object store at a distance: what it takes a host to have one that another had, how much is
lost with a host, and how fast what is written gets away.

The store is `tests.support.slowstore` in this process: every request takes 0, 20 or 50 ms longer than it does anyway.
It works on the same processors as the volumes. `round_trips`: the longest chain of requests of which each began after
the one before it had ended; it does not depend on the machine, the times do.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

from tests.support import slowstore
from tests.support.volumed import ALL, Volumed

from pilot.ids import VolumeId
from pilot.kernel import mounts

from . import disks, harness
from .harness import Contender, Sample, Table

_LATENCIES_MS = (0, 20, 50)
_BASE, _PLAIN, _FORK = VolumeId("base"), VolumeId("plain"), VolumeId("fork")
_FILES, _FILE_BYTES = 200, 256 << 10
_UPLOAD_BYTES = 192 << 20
_RPO_S = 3.0
_WAIT_S = 300.0


def run(rounds: int) -> Sequence[Table]:
    """All tables; each round takes seconds."""
    few = max(5, rounds // 10)
    with tempfile.TemporaryDirectory(prefix="pilot-bench-", dir="/var/tmp") as name, _store() as store:
        directory = Path(name)
        return [_migration(store, directory, few), _loss(store, directory, few), _upload(store, directory, few)]


@contextlib.contextmanager
def _store() -> Iterator[slowstore.SlowStore]:
    with slowstore.serve() as store:
        known = {"AWS_ENDPOINT_URL": store.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
                 "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}  # fmt: skip
        with mock.patch.dict(os.environ, known):
            yield store


@contextlib.contextmanager
def _host(directory: Path) -> Iterator[Volumed]:
    """A host that has nothing; gone afterwards, with all that it had."""
    directory.mkdir()
    volumed = Volumed(directory, "--store", "s3://bench/volumes")
    volumed.start()
    try:
        yield volumed
    finally:
        volumed.stop()
        shutil.rmtree(directory)


# ---- a volume comes to another host


def _migration(store: slowstore.SlowStore, directory: Path, rounds: int) -> Table:
    with _host(directory / "first") as first:
        _fill(first, _PLAIN, directory / "m")
        _fill(first, _BASE, directory / "m")
        first.client.seal(_BASE)
        first.client.fork(_BASE, _FORK)
        with first.mounted(_FORK, directory / "m") as root:
            (root / "own").write_text("x")
        contenders = [
            Contender(f"{volume}, {latency} ms", functools.partial(_migrate, store, directory, volume, latency))
            for volume in (_PLAIN, _FORK)
            for latency in _LATENCIES_MS
        ]
        samples = harness.interleave(contenders, rounds, warmup=1)
    note = (
        "A host with nothing but the volume's name: adopt, attach, mount, and the first 4 KiB of a file that nobody "
        "has read since it was written. fork: of a sealed base, which that host does not have either."
    )
    return harness.make_table("first byte of a volume that another host had", samples, [], "first_byte_ms", note)


def _fill(host: Volumed, volume: VolumeId, place: Path) -> None:
    """A volume with files, mounted twice: the first time it is formatted, as no other time."""
    host.client.create(volume, disks.SIZE_BYTES)
    with host.mounted(volume, place) as root:
        for number in range(_FILES):
            (root / f"{number}").write_bytes(os.urandom(_FILE_BYTES))
    with host.mounted(volume, place) as root:
        (root / "again").write_text("x")


_turn = itertools.count()


def _migrate(store: slowstore.SlowStore, directory: Path, volume: VolumeId, latency_ms: int) -> Sample:
    place = directory / "m"
    with _host(directory / "second") as host:
        store.latency_s = latency_ms / 1e3
        store.requests.clear()
        begin = time.perf_counter()
        host.client.adopt(volume)
        adopted = time.perf_counter()
        mount_fd = host.client.attach(volume, 0, 1 << 32)
        attached = time.perf_counter()
        mounts.move_mount(mount_fd, place)
        os.close(mount_fd)
        with open(place / f"{next(_turn) * 7 % _FILES}", "rb", buffering=0) as file:
            file.read(4096)
        end = time.perf_counter()
        store.latency_s = 0.0
        before = [request for request in store.requests if request.end <= end]
        sample = {
            "first_byte_ms": (end - begin) * 1e3, "adopt_ms": (adopted - begin) * 1e3,
            "attach_ms": (attached - adopted) * 1e3, "read_ms": (end - attached) * 1e3,
            "round_trips": float(slowstore.depth(before)), "requests": float(len(before)),
        }  # fmt: skip
        mounts.umount(place)
        host.client.detach(volume)
    return sample


# ---- a host is lost


def _loss(store: slowstore.SlowStore, directory: Path, rounds: int) -> Table:
    contenders = [
        Contender(f"{latency} ms", functools.partial(_lose, store, directory, latency)) for latency in _LATENCIES_MS
    ]
    samples = harness.interleave(contenders, rounds, warmup=0)
    note = (
        "Files are written and fsynced one after the other, for 3 s; then the host's processes are killed and its "
        "directory is wiped, and another host adopts the volume. age: of the newest file there, at the kill."
    )
    return harness.make_table("lost with a host, durability local", samples, [], "age_ms", note)


def _lose(store: slowstore.SlowStore, directory: Path, latency_ms: int) -> Sample:
    volume, place = VolumeId(f"lost-{next(_turn)}"), directory / "m"
    store.latency_s = latency_ms / 1e3
    acknowledged: list[float] = []
    stop = threading.Event()
    lost = Volumed(directory / "lost", "--store", "s3://bench/volumes")
    lost.directory.mkdir()
    lost.start()
    lost.client.create(volume, disks.SIZE_BYTES)
    mount_fd = lost.client.attach(volume, 0, 1 << 32)
    place.mkdir(exist_ok=True)
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)
    writer = threading.Thread(target=_write_files, args=(place, acknowledged, stop), name="writer")
    writer.start()
    time.sleep(_RPO_S)
    known = len(acknowledged)
    killed_at = time.monotonic()
    lost.kill_together(volume, ALL)
    stop.set()
    mounts.umount(place, mounts.Unmount.DETACH)
    writer.join()
    shutil.rmtree(lost.directory)
    store.latency_s = 0.0
    with _host(directory / "second") as host:
        host.client.adopt(volume)
        with host.mounted(volume, place) as root:
            found = max((int(entry.name) for entry in root.iterdir() if entry.name.isdigit()), default=0)
    newest = min(found, len(acknowledged) - 1)
    return {"age_ms": (killed_at - acknowledged[newest]) * 1e3, "lost": float(max(0, known - 1 - found)),
            "written": float(known)}  # fmt: skip


def _write_files(place: Path, acknowledged: list[float], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            with open(place / str(len(acknowledged)), "wb", buffering=0) as file:
                file.write(os.urandom(4096))
                os.fsync(file.fileno())
        except OSError:
            return  # its host is gone
        acknowledged.append(time.monotonic())


# ---- what is written gets away


def _upload(store: slowstore.SlowStore, directory: Path, rounds: int) -> Table:
    with _host(directory / "uploads") as host:
        contenders = [
            Contender(f"{latency} ms", functools.partial(_send, store, host, directory, latency))
            for latency in _LATENCIES_MS
        ]
        samples = harness.interleave(contenders, rounds, warmup=0)
    note = (
        f"{_UPLOAD_BYTES >> 20} MiB of random bytes, from the first write to when all of it is in the store. "
        "written: until the fsync returns."
    )
    return harness.make_table("what is written gets into the store", samples, [], "mib_per_s", note)


def _send(store: slowstore.SlowStore, host: Volumed, directory: Path, latency_ms: int) -> Sample:
    volume = VolumeId(f"sent-{next(_turn)}")
    host.client.create(volume, disks.SIZE_BYTES)
    data = os.urandom(1 << 20)
    with host.mounted(volume, directory / "m") as root:
        store.latency_s = latency_ms / 1e3
        begin = time.perf_counter()
        with open(root / "file", "wb", buffering=0) as file:
            for _ in range(_UPLOAD_BYTES >> 20):
                file.write(data)
            os.fsync(file.fileno())
        written = time.perf_counter()
        _wait_sent(host, volume)
        end = time.perf_counter()
        store.latency_s = 0.0
    host.client.delete(volume)
    mib = _UPLOAD_BYTES / (1 << 20)
    return {"mib_per_s": mib / (end - begin), "written_mib_per_s": mib / (written - begin)}


def _wait_sent(host: Volumed, volume: VolumeId) -> None:
    end = time.monotonic() + _WAIT_S
    while host.client.stat(volume).unsent_bytes:
        if time.monotonic() > end:
            raise TimeoutError(f"{volume} is not in the store after {_WAIT_S} s")
        time.sleep(0.01)
