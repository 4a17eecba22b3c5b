"""What volumed tells its clients, as values; they travel in answers (`requests.to_volumed`), under the rules for these:
a field that is new has a default, and a client leaves out those that it does not know.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from ..ids import VolumeId


class Volume(msgspec.Struct, frozen=True):
    """What `stat` and `list` tell. `attached` is "mount", "file" or None; sizes in bytes; `free_bytes` is what new
    chunks may take on the host's disk. `damaged` says why it cannot be used (`pilot volume check`).
    `quota_bytes`: what `allocated_bytes` may become, when that is bounded.
    `read_only`: its filesystem has met an error (no room for its journal), and is writable once it is detached and
    attached again. `cut_off`: attached in vain, every request fails since its worker could not be
    replaced; detach it, and attach it again.

    With an object store: `url` of the volume in it; everything acknowledged before `durable_at` (seconds since 1970) is
    in there, up to segment `remote_seq`; while attached, what is not in the store, and what is there only;
    `not_durable` says why the host's store has nothing of it.
    """

    volume: VolumeId
    disk: str
    size_bytes: int
    allocated_bytes: int
    sealed: bool
    vm: bool
    formatted: bool
    attached: str | None
    worker_restarts: int
    checkpoints: int
    cut_off: bool = False
    url: str | None = None
    durability: str | None = None
    durable_at: float | None = None
    remote_seq: int | None = None
    unsent_bytes: int | None = None
    cold_bytes: int | None = None
    not_durable: str | None = None
    free_bytes: int = 0
    damaged: str | None = None
    read_only: bool = False
    quota_bytes: int | None = None


class State(enum.StrEnum):
    """How the last run of the garbage collector went."""

    WAITING = "waiting"  # there was none yet
    DONE = "done"
    SKIPPED = "skipped"  # another host has just done it
    BUSY = "busy"  # another host is at it
    FAILED = "failed"


class Outcome(msgspec.Struct, frozen=True):
    """What the last run of the garbage collector did.

    `at`: when it ended, `next_at`: when the next one begins (seconds since 1970).
    `kept`: disks that could not be read; nothing of theirs, nor of their ancestors, was deleted.
    """

    state: State = State.WAITING
    at: float | None = None
    next_at: float | None = None
    deleted: int = 0
    condemned: int = 0
    kept: int = 0
    error: str | None = None


class Status(msgspec.Struct, frozen=True):
    """What volumed does on its own: `gc` is None without a store. And what wants mending: `read_only` are the volumes
    that are, each with the bytes that it may take by now. `free_bytes` is as of `Volume`."""

    gc: Outcome | None = None
    read_only: Mapping[VolumeId, int] = msgspec.field(default_factory=dict)
    free_bytes: int = 0
