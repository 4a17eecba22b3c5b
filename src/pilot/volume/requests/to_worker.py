"""What volumed asks of a worker; of a disk that nobody has attached it does the same itself (`worker.OPERATIONS`).

On one connection: `Cut`, then `Publish`; a cut whose connection ends before that is cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from ...ids import CheckpointId
from ..checkpoint import Checkpoint
from .base import Answer, Kinds, Request


class Signs(Answer, frozen=True):
    """Of life. `answered`: FUSE requests; one whose number stands still while some wait is stuck. `fenced`: why the
    disk may write no more. `build`: None from one that does not say."""

    pid: int
    answered: int
    fenced: str | None
    store_error: str | None = None
    build: str | None = None


class Ping(Request[Signs], frozen=True, tag="ping"):
    """Whether it answers, and how it is."""


class Keep(Request[Answer], frozen=True, tag="keep"):
    """Keep the descriptors that come with it, in place of those it keeps; they are closed when it answers."""


class Parcel(Answer, frozen=True):
    """With the descriptors of /dev/fuse, of the log of changes, and of all that it keeps."""

    pid: int


class TakeBack(Request[Parcel], frozen=True, tag="parcel"):
    """Give back what it lives by, for a volumed that has just come up."""


class Stopped(Answer, frozen=True):
    """`drained`: its store has everything."""

    drained: bool = False


class Stop(Request[Stopped], frozen=True, tag="stop"):
    """Write everything out, and end."""


class WasCut(Answer, frozen=True):
    """The generation that the checkpoint is."""

    generation: int


class Cut(Request[WasCut], frozen=True, tag="cut"):
    """Cut a checkpoint now."""

    checkpoint: CheckpointId


class Published(Answer, frozen=True):
    """The checkpoint, as the text of its fact."""

    checkpoint: str

    def parsed(self) -> Checkpoint:
        """As a value."""
        return Checkpoint.parse(self.checkpoint)


class Publish(Request[Published], frozen=True, tag="publish"):
    """Store what was cut on this connection."""

    created_at: float
    comment: str | None
    frozen_ms: float
    clean: bool


class Usage(msgspec.Struct, frozen=True):
    """What the store has not, and what it alone has."""

    unsent_bytes: int
    cold_bytes: int


class InStore(Answer, frozen=True):
    """How the disk and its store stand."""

    store: Usage


class AskStore(Request[InStore], frozen=True, tag="store"):
    """How the disk and its store stand."""


class Flush(Request[Answer], frozen=True, tag="flush"):
    """Everything acknowledged is stable."""


class SetFacts(Request[Answer], frozen=True, tag="set_facts"):
    """Change facts: rows as they are stored (`volume.facts`), None for one that goes."""

    facts: Mapping[str, str | None]


class Root(Answer, frozen=True):
    """The root of a map, in hexadecimal digits."""

    root: str


class Fork(Request[Root], frozen=True, tag="fork"):
    """Pin the present content, or a checkpoint's, for the disk `child`."""

    child: str
    checkpoint: CheckpointId | None


class Unfork(Request[Answer], frozen=True, tag="unfork"):
    """The disk `child` is gone."""

    child: str


class Abandon(Request[Answer], frozen=True, tag="abandon"):
    """Keep what forks need only."""


class Restore(Request[Answer], frozen=True, tag="restore"):
    """The content becomes the checkpoint's."""

    checkpoint: CheckpointId


class DeleteCheckpoint(Request[Answer], frozen=True, tag="delete_checkpoint"):
    """Forget one."""

    checkpoint: CheckpointId


class Resize(Request[Answer], frozen=True, tag="resize"):
    """Grow."""

    size_bytes: int


class Mended(Answer, frozen=True):
    """Slots that are now as the store has them, and why the others are not."""

    mended: Sequence[int]
    failed: Mapping[int, str]


Slot = Annotated[int, msgspec.Meta(gt=0)]


class Mend(Request[Mended], frozen=True, tag="mend"):
    """Have these slots as the store has them."""

    slots: Sequence[Slot]


# What an open disk does, wherever it is open, and what only a process that serves it can.
OF_A_DISK = Kinds(AskStore, Flush, SetFacts, Fork, Unfork, Abandon, Restore, DeleteCheckpoint, Resize, Mend)
KINDS = Kinds(Ping, Keep, TakeBack, Stop, Cut, Publish, *OF_A_DISK)
