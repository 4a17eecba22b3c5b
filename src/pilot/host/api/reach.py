"""What of a machine's pilot API may be reached from an edge, and as what: this table, and nothing else.

    client asks /v1/sprites/web/exec/7  ─►  row "exec/{session}"  ─►  the machine is asked /v1/exec/7

One rule for plain calls and upgrades: the path as it came over the wire is cut at its slashes, each segment is decoded
once and has to be what a row says, and what the machine is asked is written anew. So no encoding of a slash, a dot or
anything else leads to another operation than the one that was checked, and what stands in no row does not exist.
"""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import unquote

from ... import errors

# Session names are the agent's own: nothing else is worth asking for.
_SESSION = re.compile(r"[0-9A-Za-z_-]{1,128}")


@dataclasses.dataclass(frozen=True)
class Row:
    """`path` is below the sprite's own; a `{session}` segment matches one session's name."""

    method: str
    path: str
    upgrade: bool = False


# `control` is missing on purpose: 404 is the answer that every client falls back from.
ROWS: tuple[Row, ...] = (
    Row("GET", "exec"),
    Row("POST", "exec"),
    Row("POST", "exec/{session}/kill"),
    Row("DELETE", "exec/{session}"),
    Row("GET", "fs/read"),
    Row("PUT", "fs/write"),
    Row("GET", "fs/list"),
    Row("DELETE", "fs/delete"),
    Row("POST", "fs/rename"),
    Row("POST", "fs/copy"),
    Row("POST", "fs/chmod"),
    Row("POST", "fs/chown"),
    Row("GET", "exec", upgrade=True),
    Row("GET", "exec/{session}", upgrade=True),
    Row("GET", "proxy", upgrade=True),
    Row("GET", "fs/watch", upgrade=True),
    Row("GET", "ports/watch", upgrade=True),
)


@dataclasses.dataclass(frozen=True)
class Target:
    """The sprite's name, and the path to ask its machine for."""

    sprite: str
    path: str


def find(method: str, raw_path: str, *, upgrade: bool) -> Target:
    """What `raw_path`, as it came over the wire and without its query, leads to; `NotFound` when no row has it."""
    segments = _segments(raw_path)
    if segments[:3] != ["", "v1", "sprites"] or len(segments) < 5 or not segments[3]:
        raise errors.NotFound("not found")
    name, asked = segments[3], segments[4:]
    for row in ROWS:
        if row.method == method and row.upgrade == upgrade and _fits(row.path.split("/"), asked):
            return Target(name, "/".join(["/v1", *asked]))
    raise errors.NotFound("not found")


def _segments(raw_path: str) -> list[str]:
    try:
        return [unquote(segment, errors="strict") for segment in raw_path.split("/")]
    except UnicodeDecodeError:
        raise errors.NotFound("not found") from None


def _fits(row: list[str], asked: list[str]) -> bool:
    return len(row) == len(asked) and all(
        _SESSION.fullmatch(segment) is not None if part == "{session}" else part == segment
        for part, segment in zip(row, asked, strict=True)
    )
