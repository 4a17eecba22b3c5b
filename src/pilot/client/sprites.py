"""Verbs on sprites themselves."""

from __future__ import annotations

import os
import sys

from .. import errors
from . import account as accounts
from . import durations, http, output, words
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def create(context: Context) -> None:
    said = context.said
    body: dict[str, Any] = {"name": said.required("NAME"), "labels": said.options("label")}
    body |= {"from": {"url": said.option("from")}} if said.has("from") else {}
    body |= {"template": said.option("from-checkpoint")} if said.has("from-checkpoint") else {}
    body |= {"from": {"machine": said.option("from-machine")}} if said.has("from-machine") else {}
    body |= _changes(said)
    _made(context, context.api.call("POST", "/v1/sprites", body), "")


def fork(context: Context) -> None:
    """One by itself; several by one call, so that all are of one moment."""
    source, at, names = (
        context.said.required("SOURCE"), context.said.option("checkpoint"), context.said.arguments("NAME")
    )  # fmt: skip
    told = f"  forked from {source}" + (f" at {at}" if at else "")
    if len(names) == 1:
        origin = {"sprite": source} | ({"checkpoint": at} if at else {})
        _made(context, context.api.call("POST", "/v1/sprites", {"name": names[0], "from": origin}), told)
        return
    found = context.api.call("POST", sprite_path(source, "fork"), {"names": list(names), "checkpoint": at})
    if context.wants_json:
        output.document(found)
    else:
        for row in found["sprites"]:
            _made(context, row, told)
    if failed := found["failed"]:
        raise errors.PilotError("; ".join(f"{each['name']} was not made: {each['error']}" for each in failed))


def _made(context: Context, row: dict[str, Any], rest: str) -> None:
    if context.wants_json:
        output.document(row)
    else:
        output.line(f"{row['name']}  {row['status']}  {row['url']}{rest}")


def _changes(said: words.Words) -> dict[str, Any]:
    """`config` and `lifecycle`, as far as the options say something."""
    size = {"memory": "ram_mb", "cpus": "cpus", "pids": "pids"}
    config = {key: _own(name, said.option(name)) for name, key in size.items() if said.has(name)}
    lifecycle: dict[str, Any] = {}
    for name in ("warm-after", "cold-after", "terminal-idle"):
        if said.has(name):
            lifecycle[name.replace("-", "_") + "_s"] = _rest(said.option(name) or "")
    if said.has("expires-in"):
        text = said.option("expires-in") or ""
        lifecycle |= {"expires_at": None} if text == "off" else {"expires_in_s": durations.parse_s(text)}
    if said.has("on-expiry"):
        lifecycle["on_expiry"] = said.option("on-expiry")
    if said.has("protected"):
        lifecycle["protected"] = said.option("protected") == "yes"
    return ({"config": config} if config else {}) | ({"lifecycle": lifecycle} if lifecycle else {})


def _own(name: str, text: str | None) -> int | None:
    """default is the host's."""
    return None if text == "default" else _whole(name, text)


def _whole(name: str, text: str | None) -> int:
    if not text or not (text.isascii() and text.isdecimal()):
        raise words.UsageError(f"--{name} {text}: not a number")
    return int(text)


def _rest(text: str) -> float | None:
    """off is never, default is the host's."""
    return 0 if text == "off" else None if text == "default" else durations.parse_s(text)


def config(context: Context) -> None:
    said = context.said
    changes = _changes(said)
    changes |= {"labels": said.options("label")} if said.has("label") else {}
    changes |= {"clear_labels": True} if said.has("no-labels") else {}
    path = sprite_path(context.sprite)
    row = context.api.call("PUT", path, changes) if changes else context.api.call("GET", path)
    if context.wants_json:
        output.document({key: row.get(key) for key in ("name", "labels", "config", "lifecycle", "environment")})
        return
    output.table(("SETTING", ""), _settings(row))


def _settings(row: dict[str, Any]) -> list[tuple[str, str]]:
    found = [("labels", ",".join(row.get("labels") or ()))]
    found += [(key, str(value)) for key, value in (row.get("config") or {}).items()]
    return found + [(key, _shown(key, value)) for key, value in (row.get("lifecycle") or {}).items()]


def _shown(key: str, value: object) -> str:
    """In the words that `config` takes."""
    match value:
        case None:
            return "off" if key == "expires_at" else "default"
        case bool():
            return "yes" if value else "no"
        case 0:
            return "off"
    return str(value)


def use(context: Context) -> None:
    name = context.said.required("NAME")
    context.api.call("GET", sprite_path(name))
    output.line(f"{name} is meant here ({accounts.pin(os.getcwd(), name, context.account.organisation)})")


def list_sprites(context: Context) -> None:
    prefix = context.said.option("prefix") or ""
    if context.said.has("watch"):
        watch(context, prefix)
        return
    rows = list(context.api.every_sprite(prefix))
    if context.wants_json:
        output.document(rows)
    else:
        output.table(_TITLES, [_row(row) for row in rows])


_TITLES = ("NAME", "STATUS", "ISOLATION", "CREATED", "LABELS")


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    labels = ",".join(row.get("labels") or ())
    return row["name"], row["status"], row.get("isolation", ""), output.moment(row["created_at"]), labels


def watch(context: Context, prefix: str) -> None:
    """Lines of JSON for a program; for a person a table that is drawn anew."""
    lines = context.api.stream("GET", "/v1/sprites", query=[("prefix", prefix)], patience_s=60.0)
    known: dict[str, tuple[str, str]] = {}
    drawn = 0
    for row in lines:
        if context.wants_json:
            output.document(row)
            sys.stdout.flush()
            continue
        if row.get("type") == "deleted":
            known.pop(row["name"], None)
        elif "name" in row:
            known[row["name"]] = (row["status"], output.moment(row.get("last_running_at")))
        drawn = _draw(known, drawn, str(row.get("timestamp", "")))


def _draw(known: dict[str, tuple[str, str]], drawn: int, now: str) -> int:
    """Over what was drawn before; how many lines it is now."""
    rows = output.rows(("NAME", "STATUS", "LAST RUNNING"), [(name, *rest) for name, rest in sorted(known.items())])
    rows.append(output.moment(now))
    if os.isatty(1):
        sys.stdout.write(f"\x1b[{drawn}F\x1b[J" if drawn else "")
    sys.stdout.write("\n".join(rows) + "\n")
    sys.stdout.flush()
    return len(rows)


def info(context: Context) -> None:
    row = context.api.call("GET", sprite_path(context.sprite))
    if context.wants_json:
        output.document(row)
        return
    flat = [("name", row["name"]), ("status", row["status"]), ("url", f"{row['url']} ({row['url_settings']['auth']})")]
    flat += [(key, str(row.get(key) or "")) for key in ("id", "isolation", "version", "created_at", "last_running_at")]
    rested = row.get("rested")
    flat += [("rested", f"{rested['status']} {output.moment(rested['at'])}: {rested['why']}")] if rested else []
    output.table(("", ""), flat + _settings(row))


def why(context: Context) -> None:
    found = context.api.call("GET", sprite_path(context.sprite, "why"))
    if context.wants_json:
        output.document(found)
        return
    output.line(found["status"])
    for each in found["held_by"]:
        output.line(f"  {each}")
    if found["status"] == "running" and not found["held_by"]:
        output.line(f"  unused for {found['idle_s'] or 0:.0f} s")
    if ended := found["out_of_memory"]:
        output.line(f"out of memory {output.moment(ended['last_at'])}: {ended['processes']} processes were ended")
    if read_only := found.get("disk_read_only"):
        output.line(f"read-only disk: {read_only}")
    if rested := found["rested"]:
        output.line(f"last at rest ({rested['status']}) {output.moment(rested['at'])}: {rested['why']}")


def destroy(context: Context) -> None:
    name = context.sprite
    if not context.said.has("force"):
        if not os.isatty(0):
            raise errors.PilotError("not destroyed: nobody there to ask", hint="--force does not ask")
        if input(f"destroy {name} and all that is on its disk? [y/N] ").strip().lower() not in ("y", "yes"):
            raise errors.PilotError("not destroyed")
    context.api.call("DELETE", sprite_path(name))


def _post(context: Context, what: str) -> None:
    context.api.call("POST", sprite_path(context.sprite, what))


def sleep(context: Context) -> None:
    _post(context, "sleep")


def wake(context: Context) -> None:
    _post(context, "wake")


def stop(context: Context) -> None:
    _post(context, "stop")


def restart(context: Context) -> None:
    _post(context, "restart")


def upgrade(context: Context) -> None:
    _post(context, "upgrade")


def disk(context: Context) -> None:
    found = context.api.call("GET", sprite_path(context.sprite, "disk"))
    if context.wants_json:
        output.document(found)
    else:
        output.line(f"{found['url'] or 'on this host alone'}  {found['durable_at'] or ''}".rstrip())


def hold(context: Context) -> None:
    path = sprite_path(context.sprite, f"holds/{http.quoted(context.said.required('HOLD'))}")
    text = context.said.option("for")
    context.api.call("PUT", path, {"expire": durations.parse_s(text)} if text else {})


def release(context: Context) -> None:
    context.api.call("DELETE", sprite_path(context.sprite, f"holds/{http.quoted(context.said.required('HOLD'))}"))


def holds(context: Context) -> None:
    found = context.api.call("GET", sprite_path(context.sprite, "holds"))["holds"]
    if context.wants_json:
        output.document(found)
    else:
        rows = [(row["name"], output.moment(row["since"]), output.moment(row["expires_at"])) for row in found]
        output.table(("HOLD", "SINCE", "UNTIL"), rows)


def events(context: Context) -> None:
    """Until it is interrupted."""
    query = [("after", context.said.option("after") or "")] if context.said.has("after") else []
    query += [("sprite", context.said.option("sprite") or "")] if context.said.has("sprite") else []
    for event in context.api.stream("GET", "/v1/events", query=query, patience_s=60.0):
        if context.wants_json:
            output.document(event)
        elif event["type"] == "gap":
            output.line(f"events {event['first']} to {event['last']} are not kept any more")
        elif event["type"] != "heartbeat":
            detail = "  ".join(f"{key}={value}" for key, value in event["detail"].items() if value is not None)
            name = event["sprite"]["name"] or ""
            output.line(f"{event['id']}  {output.moment(event['time'])}  {name}  {event['type']}  {detail}".rstrip())
        sys.stdout.flush()


def url(context: Context) -> None:
    row = context.api.call("GET", sprite_path(context.sprite))
    if context.wants_json:
        output.document({"url": row["url"], "url_settings": row["url_settings"]})
    else:
        output.line(f"{row['url']}  ({row['url_settings']['auth']})")


def update_url(context: Context) -> None:
    auth = context.said.option("auth")
    if auth is None:
        raise words.UsageError("--auth is missing", hint="sprite or public")
    context.api.call("PUT", sprite_path(context.sprite), {"url_settings": {"auth": auth}})
