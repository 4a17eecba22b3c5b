"""Rows → the JSON that the official clients parse. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NotRequired, TypedDict

import msgspec

from ....volume.client import Volume
from ....wire import timestamps
from ....wire.schema import Privileges
from ...services.browsing import Entry
from ...services.creation_rate import RateLimited
from ...services.running_limit import TooManyRun
from ...services.sprites import Why
from ...services.usage import SpriteUsage
from ...store.checkpoints import Checkpoint
from ...store.holds import Hold
from ...store.sprites import Config, Lifecycle, Rested, Sprite, UrlSettings
from ...store.tokens import Token
from ...store.usage import Day

VERSION = "v0.0.1-rc48"  # what sprites-go compares to choose its way of attaching; later than rc29
NO_LIMIT = 1_000_000
_EARLIEST_US, _LATEST_US = -62135596800_000_000, 253402300799_999_999  # the years 1 to 9999, which can be told


class RateLimitedShape(TypedDict):
    """What clients know by its `error`."""

    error: str
    message: str
    limit: int
    window_seconds: float
    retry_after_seconds: int


def rate_limited(error: RateLimited) -> RateLimitedShape:
    return RateLimitedShape(
        error="sprite_creation_rate_limited",
        message=f"{error}: {error.hint}",
        limit=error.limit,
        window_seconds=error.window_s,
        retry_after_seconds=max(1, math.ceil(error.retry_after_s)),
    )


class TooManyRunShape(TypedDict):
    """What clients know by its `error`."""

    error: str
    message: str
    limit: int
    current_count: int


def too_many_run(error: TooManyRun) -> TooManyRunShape:
    return TooManyRunShape(
        error="concurrent_sprite_limit_exceeded",
        message=f"{error}: {error.hint}",
        limit=error.limit,
        current_count=error.current,
    )


class SpriteShape(TypedDict):
    """A sprite in every answer that has one. `isolation` is ours: what stands between it and the host."""

    id: str
    name: str
    organization: str
    org_slug: str
    url: str
    url_settings: Mapping[str, str | int]
    status: str
    created_at: str
    updated_at: str
    version: str
    environment_version: str
    labels: Sequence[str]
    last_running_at: str | None
    last_warming_at: str | None
    last_started_at: str | None
    last_active_at: str | None
    config: Mapping[str, str | int]
    environment: Mapping[str, str]
    isolation: str
    lifecycle: Mapping[str, object]
    rested: Mapping[str, object] | None


class CheckpointShape(TypedDict):
    """`name`, `clean` and `frozen_ms` are ours, and not of the live state."""

    id: str
    create_time: str
    source_id: str
    comment: str
    history: Sequence[str]
    is_auto: bool
    health: str
    name: NotRequired[str | None]
    clean: NotRequired[bool]
    frozen_ms: NotRequired[float]


def _said(document: UrlSettings | Config) -> dict[str, str | int]:
    """Without what was left out."""
    return {key: value for key, value in msgspec.structs.asdict(document).items() if value is not None}


def optional(us: int | None) -> str | None:
    """A time, if there is one."""
    return None if us is None else timestamps.of_us(us)


def sprite(row: Sprite, organisation: str, status: str, url: str, isolation: str) -> SpriteShape:
    return {
        "id": row.id,
        "name": row.name,
        "organization": organisation,
        "org_slug": organisation,
        "url": url,
        "url_settings": _said(row.url_settings),
        "status": status,
        "created_at": timestamps.of_us(row.created_us),
        "updated_at": timestamps.of_us(row.updated_us),
        "version": VERSION.removeprefix("v"),
        "environment_version": VERSION.removeprefix("v"),
        "labels": list(row.labels),
        "last_running_at": optional(row.last_running_us),
        "last_warming_at": optional(row.last_warming_us),
        "last_started_at": optional(row.last_running_us),
        "last_active_at": optional(row.last_running_us),
        "config": _said(row.config),
        "environment": dict(row.environment),
        "isolation": isolation,
        "lifecycle": lifecycle(row.lifecycle),
        "rested": rested(row.rested),
    }


def lifecycle(row: Lifecycle) -> dict[str, object]:
    """Times of null are the host's; 0 is never."""
    return {
        "warm_after_s": row.warm_after_s,
        "cold_after_s": row.cold_after_s,
        "terminal_idle_s": row.terminal_idle_s,
        "expires_at": optional(row.expires_us),
        "on_expiry": row.on_expiry,
        "protected": row.protected,
    }


def resources_policy(memory_bytes: int) -> dict[str, object]:
    return {"memory": {"limit_mb": memory_bytes >> 20, "autoscale": False}}


def privileges_policy(wanted: Privileges, pending: bool | None) -> dict[str, object]:
    """`pending`, ours: its world runs with others yet; null: nobody can tell."""
    return {
        "profile": wanted.profile,
        "devices": list(wanted.devices),
        "noNewPrivileges": wanted.no_new_privileges,
        "pending": pending,
    }


def rested(row: Rested | None) -> dict[str, object] | None:
    return None if row is None else {"status": row.status, "at": timestamps.of_us(row.at_us), "why": row.why}


def why(found: Why) -> dict[str, object]:
    return {
        "status": found.status,
        "held_by": list(found.held_by),
        "idle_s": found.idle_s,
        "rested": rested(found.rested),
        "out_of_memory": None if found.out_of_memory is None else msgspec.structs.asdict(found.out_of_memory),
        "disk_read_only": found.disk_read_only,
    }


def token(row: Token, used_us: int | None = None) -> dict[str, object]:
    """`used_us`: what has not been written down yet."""
    wanted, uses = row.wanted, [us for us in (row.used_us, used_us) if us is not None]
    return {
        "id": row.id,
        "name": wanted.name or None,
        "description": wanted.description,
        "form": "macaroon" if row.is_macaroon else "bearer",
        "role": wanted.role.value,
        "scope": {"kind": wanted.scope.kind.value, "name": wanted.scope.name},
        "created_at": timestamps.of_us(row.created_us),
        "expires_at": optional(wanted.expires_us),
        "last_used_at": optional(max(uses, default=None)),
        "revoked_at": optional(row.revoked_us),
    }


def hold(row: Hold) -> dict[str, object]:
    return {"name": row.name, "since": timestamps.of_us(row.since_us), "expires_at": optional(row.expires_us)}


def counts(organisation: str, statuses: Iterable[str], running_limit: int) -> dict[str, object]:
    """The `org` of list answers and of the watch's heartbeats; `running_limit` 0: there is none."""
    found = list(statuses)
    kinds = {kind: found.count(kind) for kind in ("running", "warm", "cold")}
    return {"name": organisation, **kinds, "running_limit": running_limit or NO_LIMIT, "warm_limit": NO_LIMIT}


def page(entries: Sequence[SpriteShape], org: Mapping[str, object], token: str | None) -> dict[str, object]:
    """Both shapes of a list answer: sprites-py and @fly/sprites read the top level, sprites-go reads `org`."""
    return {
        "sprites": entries,
        "has_more": token is not None,
        "next_continuation_token": token,
        **org,
        "org": dict(org),
    }


def usage(found: SpriteUsage) -> dict[str, object]:
    machine = None if found.machine is None else dataclasses.asdict(found.machine)
    pids = found.size.pids if found.counts_processes else None
    size = {"ram_mb": found.size.memory_bytes >> 20, "cpus": found.size.cpus, "pids": pids}
    return {
        "size": size,
        "machine": machine,
        "disk_bytes": found.disk_bytes,
        "network_bytes": dict(found.network_bytes),
    }


def usage_day(day: Day) -> dict[str, object]:
    counted = day.used.counted
    return {
        "day": day.day,
        "awake_s": day.used.awake_us / 1e6,
        "cpu_s": counted.cpu_us / 1e6,
        "disk_bytes": day.used.disk_bytes,
        "sent_bytes": counted.sent_bytes,
        "received_bytes": counted.received_bytes,
    }


def disk(volume: Volume, *, with_url: bool) -> dict[str, object]:
    """Without an object store `url` and `durable_at` are null. Whoever has the URL can have the disk."""
    durable_at = volume.durable_at
    return {
        "url": volume.url if with_url else None,
        "durability": volume.durability,
        "durable_at": None if durable_at is None else timestamps.of_s(durable_at),
        "size_bytes": volume.size_bytes,
        "allocated_bytes": volume.allocated_bytes,
        "quota_bytes": volume.quota_bytes,
        "read_only": volume.read_only,
    }


def checkpoint(row: Checkpoint, history: list[str]) -> CheckpointShape:
    return {
        "id": row.id,
        "create_time": timestamps.of_us(row.created_us),
        "source_id": row.source or "",
        "comment": row.comment,
        "name": row.name,
        "history": history,
        "is_auto": row.is_auto,
        "health": "",
        "clean": row.clean,
        "frozen_ms": row.frozen_ms,
    }


def listing(path: str, entries: Sequence[Entry]) -> dict[str, object]:
    """As machines list a directory; owner and target are ours."""
    rows = [
        {
            "name": each.name,
            "path": each.path,
            "type": each.kind,
            "size": each.size_bytes,
            "mode": f"{each.mode:o}",
            "modTime": timestamps.of_us(min(max(each.mtime_ns // 1000, _EARLIEST_US), _LATEST_US)),
            "isDir": each.kind == "directory",
            "uid": each.uid,
            "gid": each.gid,
            "target": each.target,
        }
        for each in entries
    ]
    return {"path": path, "entries": rows, "count": len(rows)}


def current(row: Sprite, now_us: int, history: list[str]) -> CheckpointShape:
    """The live state, which upstream lists as a checkpoint named Current."""
    return {
        "id": "Current",
        "create_time": timestamps.of_us(now_us),
        "source_id": row.current_source or "",
        "comment": "",
        "history": history,
        "is_auto": False,
        "health": "",
    }


def history(source: str | None, sources: Mapping[str, str | None]) -> list[str]:
    """The checkpoints from `source` back to the first. `sources` maps each to the one that it came from."""
    found: list[str] = []
    while source is not None and source not in found:
        found.append(source)
        source = sources.get(source)
    return found


def line(kind: str, text: str, now_us: int, **more: object) -> dict[str, object]:
    """One line of a checkpoint's or restore's NDJSON stream; an error's text goes by its own key."""
    key = "error" if kind == "error" else "data"
    return {"type": kind, key: text, "time": timestamps.of_us(now_us), **more}
