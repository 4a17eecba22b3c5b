"""Identifiers: one type per kind of thing, so that a volume is never passed where a machine is meant."""

from __future__ import annotations

import os
import re
from typing import NewType

from . import errors

ContainerId = NewType("ContainerId", str)
MachineId = NewType("MachineId", str)
VolumeId = NewType("VolumeId", str)
CheckpointId = NewType("CheckpointId", str)
SessionId = NewType("SessionId", str)
RunId = NewType("RunId", str)
SpriteName = NewType("SpriteName", str)

# What no id has, as in runc: the id becomes a directory name and a cgroup name.
_NOT_IN_A_CONTAINER_ID = re.compile(r"[^A-Za-z0-9_+.-]")
# A DNS label: the name becomes a host name, and sprites-go does not percent-encode it in paths.
_SPRITE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def parse_container_id(text: str) -> ContainerId:
    """Text of a command line → container id; `PilotError` when it could not be a directory name."""
    if not text:
        raise errors.PilotError("container id cannot be empty")
    wrong = _NOT_IN_A_CONTAINER_ID.search(text)
    if wrong is not None or text in {".", ".."} or len(text) > 1024:
        why = f": invalid character {wrong[0]!r}" if wrong else ""
        hint = "use letters, digits and any of _ + - ."
        raise errors.PilotError(f"invalid container ID format: {text!r}{why}", hint=hint)
    return ContainerId(text)


def parse_sprite_name(text: str) -> SpriteName:
    """Text of a request → sprite name; `PilotError` when it could not be a DNS label."""
    if not _SPRITE_NAME.fullmatch(text):
        raise errors.PilotError(
            f"invalid sprite name {text!r}", hint="use 1 to 63 of a-z, 0-9 and '-', with no '-' at either end"
        )
    return SpriteName(text)


def new_machine_id() -> MachineId:
    """14 hexadecimal digits, as the Machines API has them."""
    return MachineId(os.urandom(7).hex())
