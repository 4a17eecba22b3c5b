"""What transitions return to those after them. Journalled with the run, so a type that changes keeps a reader."""

from __future__ import annotations

import msgspec

from ...ids import CheckpointId, VolumeId
from ...wire.schema import DiskReference
from ..fsm.documents import Format


class Booted(msgspec.Struct, frozen=True):
    """Where the agent finds the disk that the machine was started with; None: it ran already, nobody knows."""

    disk: DiskReference | None


class Up(msgspec.Struct, frozen=True):
    """What the machine said of its world before."""

    was: str | None


class Reserved(msgspec.Struct, frozen=True):
    """The checkpoint to be."""

    id: CheckpointId
    number: int


class Taken(msgspec.Struct, frozen=True):
    clean: bool
    frozen_ms: float
    created_us: int


class Saved(msgspec.Struct, frozen=True):
    """The automatic checkpoint; None when it could not be made."""

    id: CheckpointId | None


class Forked(msgspec.Struct, frozen=True):
    """Of those that failed, by name: why."""

    failed: dict[str, str]


class Down(msgspec.Struct, frozen=True):
    """Whether a world ran before."""

    ran: bool


class Fitted(msgspec.Struct, frozen=True):
    """Whether its machine has the new size now; else it gets it with its next start."""

    now: bool


class Archived(msgspec.Struct, frozen=True):
    """The archive of the image, the volume to be filled with it, and the base that there was ("": none)."""

    path: str
    volume: VolumeId
    previous: str

    @property
    def is_current(self) -> bool:
        """The volume was published by an earlier run: it is sealed, and sprites are forks of it."""
        return self.volume == self.previous


BOOTED = Format[Booted](Booted)
UP = Format[Up](Up)
RESERVED = Format[Reserved](Reserved)
TAKEN = Format[Taken](Taken)
SAVED = Format[Saved](Saved)
FORKED = Format[Forked](Forked)
DOWN = Format[Down](Down)
FITTED = Format[Fitted](Fitted)
ARCHIVED = Format[Archived](Archived)
