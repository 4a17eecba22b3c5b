"""Kills under load, counted: `python -m tests.support.private -- python -m tests.faults.crashlab [--kills N] [--seed
N]`.

Writers make files, fsync them and note each one as acknowledged. Meanwhile, in turns,

    one or two of worker, keeper, volumed and zygote are killed with -9 at once: no writer may see an error
    worker, keeper and volumed are killed at once: writers get errors; everything is started and mounted again

After each round every acknowledged file is compared by hash and e2fsck looks at a fork; at the end nothing may be left.
The result is one JSON object on standard output; the exit status is 1 when anything was lost.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.volumed import ALL, Volumed, is_alive

from pilot.ids import VolumeId
from pilot.kernel import mounts

SIZE_BYTES = 4 << 30
# The worker's part of the work is the largest, and so is its share of the kills.
VICTIMS = (
    *[("worker",)] * 4, ("keeper",), ("volumed",), ("zygote",), ("worker", "volumed"), ("worker", "zygote"),
    ("keeper", "worker"), ("keeper", "volumed"), ("keeper", "zygote"), ("volumed", "zygote"),
)  # fmt: skip
DISK, FORK = VolumeId("disk"), VolumeId("fork")
WRITERS, FILES_PER_WRITER = 3, 300


class Writer(threading.Thread):
    """Writes files round and round until told to stop or failing.

    `acknowledged` is name → hash of what fsync confirmed.
    """

    def __init__(self, root: Path, number: int, seed: int, acknowledged: dict[str, str], stop: threading.Event) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self._root, self._number, self._stop_event = root, number, stop
        self._random = random.Random(seed)
        self._acknowledged = acknowledged
        self.count = 0
        self.failure: OSError | None = None

    def run(self) -> None:
        try:
            while not self._stop_event.is_set():
                self._write(f"w{self._number}-{self.count % FILES_PER_WRITER}")
                self.count += 1
        except OSError as error:
            self.failure = error

    def _write(self, name: str) -> None:
        data = self._random.randbytes(self._random.randrange(1, 200_000))
        temporary = self._root / f"{name}.tmp"
        fd = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        # Between these two the old file or the new one may be found, so neither is claimed.
        self._acknowledged.pop(name, None)
        os.rename(temporary, self._root / name)
        directory_fd = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(directory_fd)
        finally:
            os.close(directory_fd)
        self._acknowledged[name] = hashlib.sha256(data).hexdigest()


class Lab:
    """One disk under fire."""

    def __init__(self, state: Path, seed: int, share_of_all: float) -> None:
        self._share_of_all = share_of_all
        self._last = ""
        self.volumed = Volumed(state)
        self.place = state / "mount"
        self.place.mkdir()
        self.random = random.Random(seed)
        self.acknowledged: dict[str, str] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.problems: list[str] = []

    def run(self, kills: int) -> None:
        self.volumed.start()
        self.volumed.client.create(DISK, SIZE_BYTES)
        while sum(count for name, count in self.counts.items() if name.startswith("kills_of_")) < kills:
            self._round(min(10, kills))
        keeper = self.volumed.keeper_now()
        self.volumed.stop()
        if self.volumed.loops() or (keeper is not None and is_alive(keeper)):
            self.problems.append(f"left behind: loops {self.volumed.loops()}, keeper {keeper}")

    def _round(self, kills: int) -> None:
        self._mount()
        stop = threading.Event()
        writers = [
            Writer(self.place, n, self.random.randrange(1 << 30), self.acknowledged, stop) for n in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        for _ in range(kills):
            time.sleep(self.random.uniform(0.02, 0.4))
            self._kill(self.random.choice(VICTIMS))
        time.sleep(self.random.uniform(0.02, 0.4))
        self.problems += [f"{writer.name}: {writer.failure}" for writer in writers if writer.failure]
        if self.random.random() < self._share_of_all:
            self._kill(ALL)
        stop.set()
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive(), f"{writer.name} hangs"
            self.counts["files_written"] += writer.count
        mounts.umount(self.place)
        self.volumed.client.detach(DISK)
        self._verify()

    def _kill(self, victims: Sequence[str]) -> None:
        self.volumed.kill_together(DISK, victims)
        if not self.volumed.is_running():
            self.volumed.start()
        self._last = "+".join(victims)
        self.counts[f"kills_of_{self._last}"] += 1

    def _mount(self) -> None:
        mount_fd = self.volumed.client.attach(DISK, 0, 1 << 32)
        try:
            mounts.move_mount(mount_fd, self.place)
        finally:
            os.close(mount_fd)

    def _verify(self) -> None:
        self._mount()
        for name, digest in self.acknowledged.items():
            data = (self.place / name).read_bytes() if (self.place / name).exists() else b""
            self.counts["files_verified"] += 1
            self.counts["bytes_verified"] += len(data)
            if hashlib.sha256(data).hexdigest() != digest:
                self.problems.append(
                    f"{self._last}: {name}: {len(data)} bytes, {data.count(0)} of them 0: not what was written"
                )
        mounts.umount(self.place)
        self.volumed.client.detach(DISK)
        self._check_filesystem()

    def _check_filesystem(self) -> None:
        client = self.volumed.client
        client.fork(DISK, FORK)
        fd = client.attach_file(FORK)
        try:
            command = ["e2fsck", "-fn", f"/proc/self/fd/{fd}"]
            done = subprocess.run(command, pass_fds=[fd], capture_output=True, text=True, check=False)
        finally:
            os.close(fd)
        client.detach(FORK)
        client.delete(FORK)
        self.counts["filesystem_checks"] += 1
        if done.returncode != 0:
            self.problems.append(f"e2fsck: {done.stdout}")


def main(arguments: list[str]) -> int:
    """Run the lab; the exit status."""
    parser = argparse.ArgumentParser(prog="crashlab")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share-of-all", type=float, default=0.3, help="of the rounds that end with all three killed")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="crashlab-", dir="/var/tmp") as state:
        lab = Lab(Path(state), options.seed, options.share_of_all)
        with contextlib.ExitStack() as stack:
            stack.callback(lab.volumed.stop)
            lab.run(options.kills)
    print(json.dumps({"seed": options.seed, **lab.counts, "problems": lab.problems}, indent=2))
    return 1 if lab.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
