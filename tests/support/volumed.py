"""A volumed of the test's own, and what the kernel shows of its disks."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pilot.ids import VolumeId
from pilot.kernel import mounts
from pilot.volume import messages
from pilot.volume.client import VolumeClient

_START_TIMEOUT_S = 20


class Volumed:
    """A running daemon with its state below `directory`; `start` again after `kill`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = str(directory / "volumed.sock")
        self.client = VolumeClient(self.socket)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it can be connected to."""
        command = [sys.executable, "-m", "pilot.volume.daemon", "--state-dir", str(self.directory), "--detach-on-exit"]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + _START_TIMEOUT_S
        pid_fd = os.pidfd_open(self.process.pid)
        try:
            while True:
                assert not select.select([pid_fd], [], [], 0.01)[0], "volumed ended at once"
                assert time.monotonic() < deadline, "volumed does not come up"
                with contextlib.suppress(OSError):
                    messages.connect(self.socket, 5).close()
                    return
        finally:
            os.close(pid_fd)

    def kill(self) -> None:
        """kill -9, and nothing else: workers live on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        os.unlink(self.socket)

    def stop(self) -> None:
        """Detach everything and end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(timeout=60) == 0
        self.process = None

    def disk(self, volume: str) -> Path:
        """The directory of a volume's disk."""
        return (self.directory / "volumes" / "names" / volume).resolve()

    def worker(self, volume: str) -> int:
        """Pid of the worker that serves a volume now."""
        connection = messages.connect(str(self.disk(volume) / "worker.sock"), 20)
        try:
            return int(connection.call("ping")[0]["pid"])
        finally:
            connection.close()

    @contextlib.contextmanager
    def mounted(self, volume: VolumeId, place: Path, uid_base: int = 0, count: int = 1 << 32) -> Iterator[Path]:
        """The volume, attached and mounted at `place`; afterwards unmounted and detached."""
        mount_fd = self.client.attach(volume, uid_base, count)
        try:
            place.mkdir(exist_ok=True)
            mounts.move_mount(mount_fd, place)
        finally:
            os.close(mount_fd)
        try:
            yield place
        finally:
            mounts.umount(place)
            self.client.detach(volume)


def loops_of(name: str) -> list[str]:
    """Loop devices of this kernel whose backing file is a FUSE "disk" that we serve, by sysfs."""
    found = []
    for entry in Path("/sys/block").iterdir():
        backing = entry / "loop" / "backing_file"
        with contextlib.suppress(OSError):
            if backing.read_text().strip() == name:
                found.append(entry.name)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
