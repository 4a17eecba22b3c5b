"""Looking at two states of a sprite's disk beside each other: forks of both, mounted nowhere but here, gone afterwards.

A pilotd that dies meanwhile leaves them, named look-…; the next one takes them away (`sweep`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence

from ... import errors
from ...ids import CheckpointId, VolumeId
from ...wire import faults
from ..operations.context import VolumeService
from .lending import Lent

log = logging.getLogger(__name__)

PREFIX = "look-"
AT_ONCE = 2
MOST_S = 280.0
_UIDS = 65536
_MODULE = "pilot.host.difference"


class Looking:
    """`AT_ONCE` at a time: each is a process that reads all of a disk's metadata."""

    def __init__(self, volumes: VolumeService) -> None:
        self._volumes = volumes
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def difference(self, volume: VolumeId, points: Sequence[CheckpointId | None], out: Lent) -> None:
        """Lines of `host.difference` from the first of two states to the second (None: as it is now), all of them in
        `out`. Blocks; `Exhausted` when as many are under way as may be."""
        with self.disks([(volume, point) for point in points], "compare") as mount_fds, contextlib.ExitStack() as stack:
            roots = [stack.enter_context(root(fd)) for fd in mount_fds]
            look(_MODULE, "compare", MOST_S, roots, [out.most_bytes], out)
            out.written()

    @contextlib.contextmanager
    def disks(self, states: Sequence[tuple[VolumeId, CheckpointId | None]], what: str) -> Iterator[list[int]]:
        """Descriptors of what is mounted of these states of volumes, for the block. `what`: for errors, which are those
        of `difference`."""
        if any(self._volumes.stat(volume).vm for volume, _ in states):
            raise faults.Unsupported(f"{what}: guests have had this disk mounted, so this host never does")
        if not self._room.acquire(blocking=False):
            raise faults.Exhausted(f"{what}: {AT_ONCE} looks at disks are under way", hint="try again in a while")
        try:
            with contextlib.ExitStack() as stack:
                yield [stack.enter_context(self._mounted(volume, point)) for volume, point in states]
        finally:
            self._room.release()

    @contextlib.contextmanager
    def _mounted(self, volume: VolumeId, point: CheckpointId | None) -> Iterator[int]:
        fork = VolumeId(f"{PREFIX}{uuid.uuid4()}")
        self._volumes.fork(volume, fork, point)
        try:
            mount_fd = self._volumes.attach(fork, 0, _UIDS)
            try:
                yield mount_fd
            finally:
                os.close(mount_fd)
        finally:
            forget(self._volumes, fork)

    def sweep(self) -> None:
        """What a pilotd that died has left. No other one is at work: it has the lock of its state directory."""
        for volume in self._volumes.list():
            if volume.volume.startswith(PREFIX):
                log.info("left by a look at a disk, removed", extra={"volume": volume.volume})
                forget(self._volumes, volume.volume)


@contextlib.contextmanager
def root(mount_fd: int) -> Iterator[int]:
    """A descriptor of the root directory that sprites see."""
    fd = os.open("rootfs", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=mount_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def forget(volumes: VolumeService, fork: VolumeId) -> None:
    """A fork that is mounted nowhere else, or is not there at all; idempotent."""
    try:
        volumes.detach(fork)
    except (errors.StateError, errors.NotFound):
        pass  # it was not attached, or is not there: both are what is wanted
    try:
        volumes.delete(fork)
    except errors.NotFound:
        pass  # as above


def look(
    module: str, what: str, most_s: float, fds: Sequence[int], words: Sequence[int], out: Lent | int, given: bytes = b""
) -> bytes:
    """What a process of its own says, which has these descriptors and is told them, then `words`; nothing when it is
    written to a file `out`. It ends with all that it has begun, which has the disk, too. `HostError`."""
    command = [sys.executable, "-P", "-m", module, *map(str, (*fds, *words))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=out, stderr=pipe, pass_fds=fds, process_group=0) as process:
        try:
            said, why = process.communicate(given, most_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise errors.HostError(f"{what}: not done after {most_s:.0f} s") from error
            raise
    if process.returncode:
        raise errors.HostError(f"{what}: {why.decode(errors='replace').strip()[-400:]}")
    return said or b""
