"""A volumed of the test's own, and what the kernel shows of its disks."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from pilot import errors
from pilot.ids import VolumeId
from pilot.kernel import loop, mounts
from pilot.volume import messages
from pilot.volume.client import VolumeClient
from pilot.volume.requests import to_volumed, to_worker

_START_TIMEOUT_S = 20
PROGRAM = ("-m", "pilot.volume.volumed.daemon")
# Those that hold what an attached disk lives by.
ALL = ("worker", "keeper", "volumed")


class Volumed:
    """A running daemon with its state below `directory`; `start` again after `kill`."""

    def __init__(self, directory: Path, *options: str, program: Sequence[str] = PROGRAM) -> None:
        self.directory = directory
        self._program = program
        self._options = options
        self.socket = str(directory / "volumed.sock")
        self.client = VolumeClient(self.socket)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, crash_at: str | None = None) -> None:
        """Start it; returns when it can be connected to. `crash_at` is a point of `volume.crashpoint`."""
        environment = dict(os.environ)
        if crash_at is not None:
            once = self.directory / "crash-once"
            once.touch()
            environment["PILOT_CRASH_AT"] = f"{crash_at}={once}"
        command = [sys.executable, *self._program, "--state-dir", str(self.directory), "--detach-on-exit"]
        command += self._options
        self.process = subprocess.Popen(command, env=environment)
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

    def wait_killed(self) -> None:
        """Wait until it has been killed at the point given to `start`."""
        assert self.process is not None
        assert self.process.wait(timeout=30) == -signal.SIGKILL
        os.unlink(self.socket)

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

    def loops(self) -> list[int]:
        """Numbers of the loop devices of this volumed's disks (other tests' volumeds run on the same kernel)."""
        disks = {f"pilot/{disk}" for disk in os.listdir(self.directory / "volumes" / "disks")}
        found = []
        for entry in Path("/sys/block").glob("loop*/loop"):
            number = int(entry.parent.name.removeprefix("loop"))
            with contextlib.suppress(OSError):  # going away
                device_fd = loop.open_device(number, str(self.directory), read_only=True)
                try:
                    if loop.name_of(device_fd) in disks:
                        found.append(number)
                finally:
                    os.close(device_fd)
        return found

    def worker(self, volume: str) -> int:
        """Pid of the worker that serves a volume now; waits for the successor of one that was just killed."""
        deadline = time.monotonic() + 20
        while True:
            try:
                connection = messages.connect(str(self.disk(volume) / "worker.sock"), 20)
                try:
                    return connection.call(to_worker.Ping())[0].pid
                finally:
                    connection.close()
            except (OSError, errors.PeerError):
                assert time.monotonic() < deadline, f"no worker of {volume}"

    def is_running(self) -> bool:
        """Whether the daemon is."""
        return self.process is not None and self.process.poll() is None

    def keeper(self) -> int:
        """Pid of the keeper; waits for the successor of one that was just killed."""
        deadline = time.monotonic() + 20
        while True:
            pid = self.keeper_now()
            if pid is not None and is_alive(pid):
                return pid
            assert time.monotonic() < deadline, "no keeper"

    def keeper_now(self) -> int | None:
        """Pid of the keeper, if there is one."""
        with contextlib.closing(messages.connect(self.socket, 20)) as connection:
            return connection.call(to_volumed.Ping())[0].keeper

    def zygote(self) -> int:
        """Pid of the process that forks the workers; waits for the successor of one that was just killed."""
        assert self.process is not None
        deadline = time.monotonic() + 20
        while True:
            for pid in children(self.process.pid):
                if is_alive(pid) and Path(f"/proc/{pid}/comm").read_text() == "volume-zygote\n":
                    return pid
            assert time.monotonic() < deadline, "no zygote"

    def kill_together(self, volume: VolumeId, parts: Collection[str]) -> None:
        """kill -9 of "worker", "keeper", "zygote", "volumed", at a moment as nearly the same as can be. volumed, if it
        was one of them, is to be started again."""
        pids = [getattr(self, part)(*([volume] if part == "worker" else [])) for part in parts if part != "volumed"]
        self.kill_all(pids, volumed="volumed" in parts)

    def kill_all(self, pids: Collection[int], *, volumed: bool) -> None:
        """The same of processes that were asked for before."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # so that it replaces nobody in between
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        if volumed:
            self.kill()
        else:
            self.process.send_signal(signal.SIGCONT)

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


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    """Those that any thread of the process has, the oldest first."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for path in lists for child in path.read_text().split())


def wait_for_end_of_children(pid: int) -> None:
    """Of a zygote, say: while they run they hold mounts."""
    deadline = time.monotonic() + 10
    while children(pid):
        assert time.monotonic() < deadline, f"a child of {pid} is left"
