"""The synchronous client of volumed (joints §6).

One connection per call, so a client may be shared by threads and outlives a restart of volumed. Every call raises the
`PilotError` child that volumed named, or `PeerError` when volumed cannot be reached or went away in the middle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

from .. import errors
from ..ids import CheckpointId, VolumeId
from ..kernel import fds as descriptors
from . import build, layout, messages
from .answers import Mended, Outcome, State, Status, Volume
from .checkpoint import Checkpoint
from .messages import Message

__all__ = ["Checkpoint", "Mended", "Outcome", "State", "Status", "Volume", "VolumeClient"]
T = TypeVar("T")


def _known(kind: type[T], row: Mapping[str, object]) -> T:
    """A value of an answer; fields of a later build are left out."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # they all are dataclasses
    return kind(**{name: value for name, value in row.items() if name in names})


class VolumeClient:
    """Speaks to the volumed that listens at `path`; `timeout_s` is the deadline of each call."""

    def __init__(self, path: str, *, timeout_s: float = 120.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def create(self, volume: VolumeId, size_bytes: int = layout.DEFAULT_SIZE_BYTES) -> None:
        """A new volume, sparse; formatted at its first `attach`. Conflict when it exists."""
        self._call("create", volume=volume, size_bytes=size_bytes)

    def fork(self, source: VolumeId, volume: VolumeId, checkpoint: CheckpointId | None = None) -> None:
        """A new volume that begins as `source` is now, or was at its checkpoint; nothing is copied."""
        self._call("fork", source=source, volume=volume, checkpoint=checkpoint)

    def adopt(self, volume: VolumeId, url: str | None = None) -> None:
        """Bring a volume here that is in the store: by its name, or by the `url` of its `stat`. Nothing is copied; who
        held it is fenced."""
        self._call("adopt", volume=volume, url=url)

    def delete(self, volume: VolumeId) -> None:
        """Delete a detached volume with its checkpoints; its forks stay as they are."""
        self._call("delete", volume=volume)

    def list(self) -> Sequence[Volume]:
        """All volumes."""
        return [_known(Volume, row) for row in self._call("list")["volumes"]]

    def stat(self, volume: VolumeId) -> Volume:
        """One volume."""
        return _known(Volume, self._call("stat", volume=volume)["volume"])

    def status(self) -> Status:
        """What volumed does on its own."""
        gc = self._call("status")["gc"]
        return Status() if gc is None else Status(_known(Outcome, {**gc, "state": State(gc["state"])}))

    def is_of_this_build(self) -> bool:
        """Whether the volumed that answers runs the code that is installed here now. PeerError."""
        return self._call("ping").get("build") == build.identity()

    def mend(self, disk: str, slots: Sequence[int]) -> Mended:
        """Have these slots of a disk in its slab as the store has them."""
        answer = self._call("mend", disk=disk, slots=list(slots))
        return Mended(answer["mended"], {int(slot): why for slot, why in answer["failed"].items()})

    def seal(self, volume: VolumeId) -> None:
        """Make it a base: read-only for ever."""
        self._call("seal", volume=volume)

    def resize(self, volume: VolumeId, size_bytes: int) -> None:
        """Grow a detached volume."""
        self._call("resize", volume=volume, size_bytes=size_bytes)

    def take_in(self, volume: VolumeId, disk: str) -> None:
        """A disk that an import has filled (`archive`) becomes this volume; Conflict."""
        self._call("take_in", volume=volume, disk=disk)

    def attach(self, volume: VolumeId, uid_base: int, uid_count: int) -> int:
        """A descriptor of a detached ext4 mount, idmapped to uid_base..; the caller owns it."""
        return self._fd("attach", volume=volume, uid_base=uid_base, uid_count=uid_count)

    def attach_file(self, volume: VolumeId) -> int:
        """A descriptor of the disk as a file, for a VM; marks the volume for ever. The caller owns it."""
        return self._fd("attach_file", volume=volume)

    def detach(self, volume: VolumeId) -> None:
        """Write everything out, cut off whoever still has it mounted, let go. Nothing happens when it is detached."""
        self._call("detach", volume=volume)

    def checkpoint(
        self, volume: VolumeId, comment: str | None = None, checkpoint: CheckpointId | None = None
    ) -> Checkpoint:
        """Save the present content; `checkpoint` is its id, v1, v2, … when None."""
        answer = self._call("checkpoint", volume=volume, comment=comment, checkpoint=checkpoint)
        return _known(Checkpoint, answer["checkpoint"])

    def restore(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        """Make the volume's content that of the checkpoint; not while it is mounted."""
        self._call("restore", volume=volume, checkpoint=checkpoint)

    def checkpoints(self, volume: VolumeId) -> Sequence[Checkpoint]:
        """The volume's checkpoints, the oldest first."""
        return [_known(Checkpoint, row) for row in self._call("checkpoints", volume=volume)["checkpoints"]]

    def delete_checkpoint(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        """Forget a checkpoint."""
        self._call("delete_checkpoint", volume=volume, checkpoint=checkpoint)

    def _fd(self, op: str, **arguments: object) -> int:
        answer, fds = self._exchange(op, **arguments)
        if len(fds) != 1:
            descriptors.close_all(fds)
            raise errors.PeerError(f"{op}: volumed answered with {len(fds)} descriptors: {answer}")
        return fds[0]

    def _call(self, op: str, **arguments: object) -> Message:
        answer, fds = self._exchange(op, **arguments)
        descriptors.close_all(fds)
        return answer

    def _exchange(self, op: str, **arguments: object) -> tuple[Message, Sequence[int]]:
        try:
            connection = messages.connect(self._path, self._timeout_s)
        except OSError as error:
            raise errors.PeerError(
                f"reach volumed at {self._path}: {error.strerror}", hint="is volumed running?"
            ) from error
        try:
            answer, fds = connection.call(op, **arguments)
            if fds:
                # Once it answers again volumed has closed its copies; until then umount would find the mount busy.
                connection.call("ping")
            return answer, fds
        finally:
            connection.close()
