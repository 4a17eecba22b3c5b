"""The synchronous client of volumed (joints §6).

One connection per call, so a client may be shared by threads and outlives a restart of volumed. Every call raises the
`PilotError` child that volumed named, or `PeerError` when volumed cannot be reached or went away in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import errors
from ..ids import CheckpointId, VolumeId
from ..kernel import fds as descriptors
from . import build, layout, messages
from .answers import Outcome, State, Status, Volume
from .checkpoint import Checkpoint
from .requests import to_volumed
from .requests.base import A, Answer, Request, op_of
from .requests.to_worker import Mended

__all__ = ["Checkpoint", "Mended", "Outcome", "State", "Status", "Volume", "VolumeClient"]


class VolumeClient:
    """Speaks to the volumed that listens at `path`; `timeout_s` is the deadline of each call."""

    def __init__(self, path: str, *, timeout_s: float = 120.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def create(self, volume: VolumeId, size_bytes: int = layout.DEFAULT_SIZE_BYTES) -> None:
        """A new volume, sparse; formatted at its first `attach`. Conflict when it exists."""
        self._call(to_volumed.Create(volume, size_bytes))

    def fork(self, source: VolumeId, volume: VolumeId, checkpoint: CheckpointId | None = None) -> None:
        """A new volume that begins as `source` is now, or was at its checkpoint; nothing is copied."""
        self._call(to_volumed.Fork(source, volume, checkpoint))

    def adopt(self, volume: VolumeId, url: str | None = None) -> None:
        """Bring a volume here that is in the store: by its name, or by the `url` of its `stat`. Nothing is copied; who
        held it is fenced."""
        self._call(to_volumed.Adopt(volume, url))

    def limit(self, volume: VolumeId, quota_bytes: int | None) -> None:
        """What it may take of the host's disk from now on; None: what there is. It may have more already."""
        self._call(to_volumed.Limit(volume, quota_bytes))

    def delete(self, volume: VolumeId) -> None:
        """Delete a detached volume with its checkpoints; its forks stay as they are."""
        self._call(to_volumed.Delete(volume))

    def list(self) -> Sequence[Volume]:
        """All volumes."""
        return self._call(to_volumed.List()).volumes

    def stat(self, volume: VolumeId) -> Volume:
        """One volume."""
        return self._call(to_volumed.Stat(volume)).volume

    def status(self) -> Status:
        """What volumed does on its own."""
        answer = self._call(to_volumed.Status())
        read_only = {VolumeId(volume): left for volume, left in answer.read_only.items()}
        return Status(answer.gc, read_only, answer.free_bytes)

    def is_of_this_build(self) -> bool:
        """Whether the volumed that answers runs the code that is installed here now. PeerError."""
        return self._call(to_volumed.Ping()).build == build.identity()

    def mend(self, disk: str, slots: Sequence[int]) -> Mended:
        """Have these slots of a disk in its slab as the store has them."""
        return self._call(to_volumed.Mend(disk, slots))

    def seal(self, volume: VolumeId) -> None:
        """Make it a base: read-only for ever."""
        self._call(to_volumed.Seal(volume))

    def resize(self, volume: VolumeId, size_bytes: int) -> None:
        """Grow a detached volume."""
        self._call(to_volumed.Resize(volume, size_bytes))

    def take_in(self, volume: VolumeId, disk: str) -> None:
        """A disk that an import has filled (`archive`) becomes this volume; Conflict."""
        self._call(to_volumed.TakeIn(volume, disk))

    def attach(self, volume: VolumeId, uid_base: int, uid_count: int) -> int:
        """A descriptor of a detached ext4 mount, idmapped to uid_base..; the caller owns it."""
        return self._fd(to_volumed.Attach(volume, uid_base, uid_count))

    def attach_file(self, volume: VolumeId) -> int:
        """A descriptor of the disk as a file, for a VM; marks the volume for ever. The caller owns it."""
        return self._fd(to_volumed.AttachFile(volume))

    def detach(self, volume: VolumeId) -> None:
        """Write everything out, cut off whoever still has it mounted, let go. Nothing happens when it is detached."""
        self._call(to_volumed.Detach(volume))

    def checkpoint(
        self, volume: VolumeId, comment: str | None = None, checkpoint: CheckpointId | None = None
    ) -> Checkpoint:
        """Save the present content; `checkpoint` is its id, v1, v2, … when None."""
        return self._call(to_volumed.MakeCheckpoint(volume, comment, checkpoint)).checkpoint

    def restore(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        """Make the volume's content that of the checkpoint; not while it is mounted."""
        self._call(to_volumed.Restore(volume, checkpoint))

    def checkpoints(self, volume: VolumeId) -> Sequence[Checkpoint]:
        """The volume's checkpoints, the oldest first."""
        return self._call(to_volumed.ListCheckpoints(volume)).checkpoints

    def delete_checkpoint(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        """Forget a checkpoint."""
        self._call(to_volumed.DeleteCheckpoint(volume, checkpoint))

    def _fd(self, request: Request[Answer]) -> int:
        answer, fds = self._exchange(request)
        if len(fds) != 1:
            descriptors.close_all(fds)
            raise errors.PeerError(f"{op_of(request)}: volumed answered with {len(fds)} descriptors: {answer}")
        return fds[0]

    def _call(self, request: Request[A]) -> A:
        answer, fds = self._exchange(request)
        descriptors.close_all(fds)
        return answer

    def _exchange(self, request: Request[A]) -> tuple[A, Sequence[int]]:
        try:
            connection = messages.connect(self._path, self._timeout_s)
        except OSError as error:
            raise errors.PeerError(
                f"reach volumed at {self._path}: {error.strerror}", hint="is volumed running?"
            ) from error
        try:
            answer, fds = connection.call(request)
            if fds:
                # Once it answers again volumed has closed its copies; until then umount would find the mount busy.
                connection.call(to_volumed.Ping())
            return answer, fds
        finally:
            connection.close()
