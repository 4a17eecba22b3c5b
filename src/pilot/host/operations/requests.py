"""What operations are asked: their requests as types, and how those of earlier builds are read.

A run that a build before this one journalled is resumed by it, so a type that changes keeps a reader of what it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...ids import CheckpointId, MachineId, SpriteName, VolumeId
from ...wire.schema import DiskReference, Privileges
from ..fsm.documents import NO_REQUEST, Format
from ..fsm.operation import Action
from ..store.sprites import Config, ConfigChanges, Lifecycle, UrlSettings
from ..vmm import Isolation

SPRITE = "sprite"
BASE = "base"


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """The disk of another sprite, as it is or as it was at `checkpoint`."""

    sprite: str
    checkpoint: CheckpointId | None = None


class Stored(msgspec.Struct, frozen=True, tag="stored"):
    """A disk that is in the object store."""

    url: str


class OfMachine(msgspec.Struct, frozen=True, tag="machine"):
    """The root of a Machine's first container."""

    machine: MachineId


class Member(msgspec.Struct, frozen=True):
    """A member of the pool that a create has claimed; `disk`: where its agent was given it."""

    disk: DiskReference | None


class Joins(msgspec.Struct, frozen=True):
    """What a sprite's network is to be from the first moment: its policy as a document, and the private one."""

    policy: dict[str, object]
    private: str | None = None


class Create(msgspec.Struct, frozen=True):
    """Every id is in the request, so that a repetition means the same things. Those of a member, where one is claimed.

    `isolation`: of the machine; None in a run of a build that had only one.
    `source`: what the disk is made from; the base volume when it says nothing.
    """

    organisation: str
    name: SpriteName
    suffix: str
    machine: MachineId
    volume: VolumeId
    isolation: Isolation | None = None
    labels: tuple[str, ...] = ()
    url_settings: UrlSettings = UrlSettings()
    environment: dict[str, str] = {}
    config: Config = Config()
    lifecycle: Lifecycle = Lifecycle()
    source: Fork | Stored | OfMachine | None = None
    claimed: Member | None = None
    joins: Joins | None = None
    privileges: Privileges = Privileges()


class MakeMember(msgspec.Struct, frozen=True):
    """A sprite of the pool's organisation, which nobody has named yet."""

    organisation: str
    name: SpriteName
    suffix: str
    machine: MachineId
    volume: VolumeId
    isolation: Isolation | None = None
    config: Config = Config()


class MakeCheckpoint(msgspec.Struct, frozen=True):
    """`name`: what it is called beside its id. `most`: none is made of a sprite that has so many, but those that pilotd
    makes by itself."""

    comment: str = ""
    name: str | None = None
    most: int | None = None


class OfCheckpoint(msgspec.Struct, frozen=True):
    """Restore it, or delete it."""

    checkpoint: CheckpointId


class Wanted(msgspec.Struct, frozen=True):
    """One of several forks; `create` without where its disk comes from."""

    sprite: str
    create: Create


class ForkMany(msgspec.Struct, frozen=True):
    """All of one state: that of `checkpoint`, or as the disk is when the turn comes."""

    checkpoint: CheckpointId | None
    forks: tuple[Wanted, ...]


class Stop(msgspec.Struct, frozen=True):
    why: str = "asked for"


class Sleep(msgspec.Struct, frozen=True):
    """`force`: whatever uses it is broken off."""

    why: str = "asked for"
    force: bool = False


class Resize(msgspec.Struct, frozen=True):
    """What becomes another; when its turn comes the rest is as it is then, and not as whoever asked for this saw it."""

    changes: ConfigChanges


def _all_as_changes(document: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    """Version 1 had all that the sprite was to have; what it did not say was the host's."""
    nothing = {"ram_mb": None, "cpus": None, "region": None, "storage_gb": None}
    return {"changes": {**nothing, **document["config"]}}


def _claimed_as_field(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Version 1 had the member's disk beside the rest, and kept sources apart by their keys."""
    changed = {key: value for key, value in document.items() if key != "disk"}
    if "disk" in document:
        changed["claimed"] = {"disk": document["disk"]}
    source = document.get("source")
    if source:
        changed["source"] = source | {"type": "stored" if "url" in source else "fork"}
    return changed


CREATE = Action(SPRITE, "create", Format[Create](Create, (_claimed_as_field,)))
POOL = Action(SPRITE, "pool", Format[MakeMember](MakeMember))
WAKE = Action(SPRITE, "wake", NO_REQUEST)
SLEEP = Action(SPRITE, "sleep", Format[Sleep](Sleep))
# Of another name, so that it follows one that is not forced, and does not end as that does.
FORCED_SLEEP = Action(SPRITE, "forced_sleep", Format[Sleep](Sleep))
STOP = Action(SPRITE, "stop", Format[Stop](Stop))
RESTART = Action(SPRITE, "restart", NO_REQUEST)
CHECKPOINT = Action(SPRITE, "checkpoint", Format[MakeCheckpoint](MakeCheckpoint))
DELETE_CHECKPOINT = Action(SPRITE, "delete_checkpoint", Format[OfCheckpoint](OfCheckpoint))
RESTORE = Action(SPRITE, "restore", Format[OfCheckpoint](OfCheckpoint))
FORK_MANY = Action(SPRITE, "fork_many", Format[ForkMany](ForkMany))
RESIZE = Action(SPRITE, "resize", Format[Resize](Resize, (_all_as_changes,)))
DESTROY = Action(SPRITE, "destroy", NO_REQUEST)
PREPARE_BASE = Action(BASE, "prepare", NO_REQUEST)
