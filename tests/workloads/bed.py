"""A volume, mounted, whose processes are killed one at a time while somebody's program works on it.

with bed.mounted(), bed.kills():     worker, keeper, volumed, zygote: the loss of any one is a stall, never an error
bed.fall()                           worker, keeper and volumed at once: what was synced is there afterwards
bed.check()                          e2fsck of a fork; the volume is detached
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from pilot.ids import VolumeId
from pilot.kernel import mounts
from tests.support.volumed import ALL, Volumed

DISK, FORK = VolumeId("disk"), VolumeId("fork")
SIZE_BYTES = 8 << 30
PLACE = Path("/run/pilot-workload")  # private, and any user gets there
PAUSE_S = (0.3, 2.0)
ONE = ("worker", "worker", "keeper", "volumed", "zygote")


class Bed:
    """`volumed` is started; stop it."""

    def __init__(self, state: Path, seed: int) -> None:
        self.volumed = Volumed(state)
        self.place = PLACE
        self.place.mkdir(exist_ok=True)
        self.killed: collections.Counter[str] = collections.Counter()
        self._random = random.Random(seed)
        self.volumed.start()
        self.volumed.client.create(DISK, SIZE_BYTES)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """At `place`, for the length of the block; afterwards detached."""
        mount_fd = self.volumed.client.attach(DISK, 0, 1 << 32)
        try:
            mounts.move_mount(mount_fd, self.place)
        finally:
            os.close(mount_fd)
        try:
            yield self.place
        finally:
            mounts.umount(self.place)
            self.volumed.client.detach(DISK)

    @contextlib.contextmanager
    def kills(self) -> Iterator[None]:
        """One process after the other, for the length of the block."""
        over = threading.Event()
        failed: list[BaseException] = []

        def go() -> None:
            try:
                while not over.wait(self._random.uniform(*PAUSE_S)):
                    self._kill((self._random.choice(ONE),))
            except BaseException as error:  # noqa: BLE001 - told to whoever waits for us
                failed.append(error)

        thread = threading.Thread(target=go, name="killer")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failed:
            raise failed[0]

    def fall(self) -> None:
        """All at once; volumed is there again when it returns."""
        self._kill(ALL)

    def _kill(self, victims: tuple[str, ...]) -> None:
        self.volumed.kill_together(DISK, victims)
        if not self.volumed.is_running():
            self.volumed.start()
        self.killed["+".join(victims)] += 1

    def check(self) -> None:
        """AssertionError says what e2fsck found."""
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
        assert done.returncode == 0, f"e2fsck: {done.stdout}"
