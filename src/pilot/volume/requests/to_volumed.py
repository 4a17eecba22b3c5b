"""What volumed is asked by its clients (`volume.client` says what each does, and which errors come of it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from ..answers import Outcome, Volume
from ..checkpoint import Checkpoint
from . import to_worker
from .base import Answer, Kinds, Request


class Alive(Answer, frozen=True):
    """`keeper`: the pid of the one that keeps what attached disks live by, while there is one."""

    pid: int
    keeper: int | None
    build: str | None = None


class Ping(Request[Alive], frozen=True, tag="ping"):
    """Whether it answers."""


class Create(Request[Answer], frozen=True, tag="create"):
    """A new volume."""

    volume: str
    size_bytes: int


class Fork(Request[Answer], frozen=True, tag="fork"):
    """A new volume that begins as another is, or was at a checkpoint."""

    source: str
    volume: str
    checkpoint: str | None


class Adopt(Request[Answer], frozen=True, tag="adopt"):
    """A volume of the store comes here."""

    volume: str
    url: str | None


class Delete(Request[Answer], frozen=True, tag="delete"):
    """A volume goes, with its checkpoints."""

    volume: str


class Volumes(Answer, frozen=True):
    """All of them."""

    volumes: Sequence[Volume]


class List(Request[Volumes], frozen=True, tag="list"):
    """All volumes."""


class OneVolume(Answer, frozen=True):
    """One of them."""

    volume: Volume


class Stat(Request[OneVolume], frozen=True, tag="stat"):
    """One volume."""

    volume: str


class OnItsOwn(Answer, frozen=True):
    """`gc`: None without a store. `read_only`: volumes that are, each with the bytes that it may take by now."""

    gc: Outcome | None = None
    read_only: Mapping[str, int] = {}
    free_bytes: int = 0


class Status(Request[OnItsOwn], frozen=True, tag="status"):
    """What volumed does on its own."""


class Limit(Request[Answer], frozen=True, tag="limit"):
    """What a volume may take of the host's disk."""

    volume: str
    quota_bytes: Annotated[int, msgspec.Meta(ge=1)] | None


class Mend(Request[to_worker.Mended], frozen=True, tag="mend"):
    """Slots of a disk become as its store has them."""

    disk: str
    slots: Sequence[to_worker.Slot]


class Seal(Request[Answer], frozen=True, tag="seal"):
    """A volume becomes a base."""

    volume: str


class Resize(Request[Answer], frozen=True, tag="resize"):
    """A volume grows."""

    volume: str
    size_bytes: int


class TakeIn(Request[Answer], frozen=True, tag="take_in"):
    """A disk that an import has filled becomes a volume."""

    volume: str
    disk: str


class Attach(Request[Answer], frozen=True, tag="attach"):
    """Answered with the descriptor of a detached mount, idmapped to `uid_base` and so on."""

    volume: str
    uid_base: int
    uid_count: int


class AttachFile(Request[Answer], frozen=True, tag="attach_file"):
    """Answered with the descriptor of the disk as a file."""

    volume: str


class Detach(Request[Answer], frozen=True, tag="detach"):
    """Let go of a volume."""

    volume: str


class OneCheckpoint(Answer, frozen=True):
    """The new one."""

    checkpoint: Checkpoint


class MakeCheckpoint(Request[OneCheckpoint], frozen=True, tag="checkpoint"):
    """Save the present content."""

    volume: str
    comment: str | None
    checkpoint: str | None


class Restore(Request[Answer], frozen=True, tag="restore"):
    """The content becomes a checkpoint's."""

    volume: str
    checkpoint: str


class Checkpoints(Answer, frozen=True):
    """The oldest first."""

    checkpoints: Sequence[Checkpoint]


class ListCheckpoints(Request[Checkpoints], frozen=True, tag="checkpoints"):
    """A volume's checkpoints."""

    volume: str


class DeleteCheckpoint(Request[Answer], frozen=True, tag="delete_checkpoint"):
    """Forget one."""

    volume: str
    checkpoint: str


KINDS = Kinds(
    Ping, Create, Fork, Adopt, Delete, List, Stat, Status, Limit, Mend, Seal, Resize, TakeIn, Attach, AttachFile,
    Detach, MakeCheckpoint, Restore, ListCheckpoints, DeleteCheckpoint,
)  # fmt: skip
