"""`sprite usage`: what sprites take of their host, now and by day."""

from __future__ import annotations

from . import output
from .api import sprite_path
from .words import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .context import Context

_TITLES = ("DAY", "AWAKE", "PROCESSOR", "DISK", "SENT", "RECEIVED")


def usage(context: Context) -> None:
    said = context.said
    if said.has("all"):
        if said.argument("NAME") is not None:
            raise UsageError("--all is of all sprites, and one is named")
        _days(context, "/v1/usage/days")
    elif said.has("days"):
        _days(context, sprite_path(context.sprite, "usage/days"))
    else:
        _now(context)


def _now(context: Context) -> None:
    found = context.api.call("GET", sprite_path(context.sprite, "usage"))
    if context.wants_json:
        output.document(found)
        return
    rows = [("disk", _size(found["disk_bytes"]))]
    if machine := found["machine"]:
        rows.append(("memory", f"{_size(machine['memory_bytes'])}, at most {_size(machine['memory_peak_bytes'])}"))
        rows.append(("processor", f"{machine['cpu_s']:.1f} s since it was started"))
        most = found["size"]["pids"]
        rows.append(("processes", str(machine["processes"]) + (f", at most {most}" if most else "")))
    rows += [(f"network {name}", _size(count)) for name, count in found["network_bytes"].items()]
    output.table(("", ""), rows)


def _days(context: Context, path: str) -> None:
    query = [("days", days)] if (days := context.said.option("days")) else []
    found = _pages(context, path, query)
    if context.wants_json:
        output.document(found)
        return
    of_all = context.said.has("all")
    rows = [(*([day["sprite"]["name"]] if of_all else []), *_cells(day)) for day in found["days"]]
    output.table((*(["SPRITE"] if of_all else []), *_TITLES), rows)


def _pages(context: Context, path: str, query: list[tuple[str, str]]) -> dict[str, Any]:
    """All of them, as one."""
    days: list[Any] = []
    token: str | None = None
    while True:
        asked = [*query, ("continuation_token", token)] if token else query
        found = context.api.call("GET", path, query=asked)
        days += found["days"]
        token = found.get("next_continuation_token")
        if token is None:
            return {"days": days}


def _cells(day: Mapping[str, Any]) -> tuple[str, ...]:
    sizes = (day["disk_bytes"], day["sent_bytes"], day["received_bytes"])
    return (day["day"], _time(day["awake_s"]), _time(day["cpu_s"]), *map(_size, sizes))


def _time(seconds: float) -> str:
    """`2:03:04` where there are hours, else `3:04`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _size(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"
