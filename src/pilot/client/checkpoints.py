"""Verbs on checkpoints."""

from __future__ import annotations

from . import http, output
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def create(context: Context) -> None:
    body = {"comment": context.said.option("comment") or "", "name": context.said.option("name")}
    _follow(context, sprite_path(context.sprite, "checkpoint"), body)


def rename(context: Context) -> None:
    """Without a name it has none any more."""
    context.api.call("PUT", _path(context), {"name": context.said.argument("CALLED")})


def browse(context: Context) -> None:
    """A directory as a table; a file as it is."""
    path = context.said.argument("PATH") or "/"
    found = context.api.call("GET", f"{_path(context)}/fs/list", query=[("path", path)])
    if context.wants_json:
        output.document(found)
        return
    output.table(("MODE", "OWNER", "SIZE", "CHANGED", "NAME"), [_entry(row) for row in found["entries"]])


_LETTERS = {"directory": "d", "symlink": "l", "file": "-"}


def _entry(row: dict[str, Any]) -> tuple[str, ...]:
    name = row["name"] + (f" -> {row['target']}" if row["target"] is not None else "")
    mode = f"{_LETTERS[row['type']]}{int(row['mode'], 8):04o}"
    return mode, f"{row['uid']}:{row['gid']}", str(row["size"]), output.moment(row["modTime"]), name


def read(context: Context) -> None:
    answer = context.api.raw("GET", f"{_path(context)}/fs/read", [("path", context.said.required("PATH"))])
    try:
        for piece in answer.pieces():
            output.write_all(1, piece)
    finally:
        answer.close()


def restore(context: Context) -> None:
    path = context.said.argument("PATH")
    _follow(context, f"{_path(context)}/restore", None if path is None else {"path": path})


def _follow(context: Context, path: str, body: dict[str, Any] | None) -> None:
    for line in context.api.stream("POST", path, body):
        output.line(line.get("data", ""))


def _path(context: Context) -> str:
    return sprite_path(context.sprite, f"checkpoints/{http.quoted(context.said.required('ID'))}")


def list_all(context: Context) -> None:
    query = [("includeAuto", "true")] if context.said.has("auto") else []
    found = context.api.call("GET", sprite_path(context.sprite, "checkpoints"), query=query)
    if context.wants_json:
        output.document(found)
        return
    shown = [
        (row["id"], row.get("name") or "", output.moment(row["create_time"]), row.get("comment") or "") for row in found
    ]
    output.table(("ID", "NAME", "CREATED", "COMMENT"), shown)


def info(context: Context) -> None:
    found = context.api.call("GET", _path(context))
    if context.wants_json:
        output.document(found)
    else:
        output.table(("", ""), [(key, str(value)) for key, value in found.items()])


_MARKS = {"added": "A", "changed": "M", "deleted": "D"}


def difference(context: Context) -> None:
    other = context.said.argument("TO")
    path = f"{_path(context)}/diff" + (f"?to={http.quoted(other)}" if other else "")
    for line in context.api.stream("GET", path, None):
        if context.wants_json:
            output.document(line)
        elif "change" in line:
            size = line["size_before"] if line["size"] is None else line["size"]
            output.line(f"{_MARKS[line['change']]} {size:>10} {line['path']}")
        else:
            output.tell(f"{line['added']} added, {line['changed']} changed, {line['deleted']} deleted")


def delete(context: Context) -> None:
    context.api.call("DELETE", _path(context))
