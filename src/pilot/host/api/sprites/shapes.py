"""Rows → the JSON that the official clients parse. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from ...store.checkpoints import Checkpoint
from ...store.sprites import Sprite

VERSION = "v0.0.1-rc48"  # what sprites-go compares to choose its way of attaching; later than rc29
NO_LIMIT = 1_000_000


def timestamp(us: int) -> str:
    """RFC 3339 with six digits and Z: sprites-py on Python 3.10 takes no other number of digits."""
    moment = datetime.datetime.fromtimestamp(us // 1_000_000, datetime.UTC).replace(microsecond=us % 1_000_000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _optional(us: int | None) -> str | None:
    return None if us is None else timestamp(us)


def sprite(row: Sprite, organisation: str, status: str, url: str, isolation: str) -> dict[str, Any]:
    """`isolation` is ours: what stands between this sprite and the host."""
    return {
        "id": row.id,
        "name": row.name,
        "organization": organisation,
        "org_slug": organisation,
        "url": url,
        "url_settings": dict(row.url_settings),
        "status": status,
        "created_at": timestamp(row.created_us),
        "updated_at": timestamp(row.updated_us),
        "version": VERSION.removeprefix("v"),
        "environment_version": VERSION.removeprefix("v"),
        "labels": list(row.labels),
        "last_running_at": _optional(row.last_running_us),
        "last_warming_at": _optional(row.last_warming_us),
        "last_started_at": _optional(row.last_running_us),
        "last_active_at": _optional(row.last_running_us),
        "config": dict(row.config),
        "environment": dict(row.environment),
        "isolation": isolation,
    }


def counts(organisation: str, statuses: Iterable[str]) -> dict[str, Any]:
    """The `org` of list answers and of the watch's heartbeats."""
    found = list(statuses)
    kinds = {kind: found.count(kind) for kind in ("running", "warm", "cold")}
    return {"name": organisation, **kinds, "running_limit": NO_LIMIT, "warm_limit": NO_LIMIT}


def page(entries: list[dict[str, Any]], org: Mapping[str, Any], token: str | None) -> dict[str, Any]:
    """Both shapes of a list answer: sprites-py and @fly/sprites read the top level, sprites-go reads `org`."""
    return {
        "sprites": entries,
        "has_more": token is not None,
        "next_continuation_token": token,
        **org,
        "org": dict(org),
    }


def disk(volume: Any) -> dict[str, Any]:
    """Of a `pilot.volume.client.Volume`. Without an object store `url` and `durable_at` are null."""
    durable_at = volume.durable_at
    return {
        "url": volume.url,
        "durability": volume.durability,
        "durable_at": None if durable_at is None else timestamp(round(durable_at * 1e6)),
        "size_bytes": volume.size_bytes,
        "allocated_bytes": volume.allocated_bytes,
    }


def checkpoint(row: Checkpoint, history: list[str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "create_time": timestamp(row.created_us),
        "source_id": row.source or "",
        "comment": row.comment,
        "history": history,
        "is_auto": row.is_auto,
        "health": "",
        "clean": row.clean,
        "frozen_ms": row.frozen_ms,
    }


def current(row: Sprite, now_us: int, history: list[str]) -> dict[str, Any]:
    """The live state, which upstream lists as a checkpoint named Current."""
    return {
        "id": "Current",
        "create_time": timestamp(now_us),
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


def line(kind: str, text: str, now_us: int, **more: Any) -> dict[str, Any]:
    """One line of a checkpoint's or restore's NDJSON stream; an error's text goes by its own key."""
    key = "error" if kind == "error" else "data"
    return {"type": kind, key: text, "time": timestamp(now_us), **more}
