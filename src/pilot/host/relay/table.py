"""What may be reached through a facade, row by row; nothing else is.

A row of pilotd's own calls has a function, a row that a machine answers has the operation of the pilot API that it is
asked for: `/v1/sprites/{name}/exec/{id}/kill` is that machine's `/v1/exec/{id}/kill`. Only operations that somebody
beside pilotd may have permission for have a row.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ... import errors
from ...wire import faults, operations
from ...wire.audit import Kind, kind_of
from ...wire.operations import AnyOperation, Operation
from ...wire.permissions import Permission

Ours = TypeVar("Ours")
# Parameters that are a sprite or an app.
_NAMES_ONE = ("name", "app")


class Reach(enum.Enum):
    """Of what a row is: whoever asks has to reach it.

    `NARROWED`: the answer is made of what they reach. `NAMED`: one thing, which the answer looks up by its name.
    """

    ORGANISATION = "organisation"
    NARROWED = "narrowed"
    NAMED = "named"


@dataclasses.dataclass(frozen=True)
class Row(Generic[Ours]):
    """`permission` None: for everybody, without a token. `loopback`: for this host's own processes without one.

    `audit`: as what it is written down, when its permission does not say that already. `feature`: of a machine, as
    caveats call what the row is about.
    """

    method: str
    path: str
    permission: Permission | None
    call: Ours | AnyOperation
    websocket: bool = False
    loopback: bool = False
    of: Reach | None = None
    audit: Kind | None = None
    feature: str | None = None

    @property
    def reach(self) -> Reach:
        """As it is said, or by what the path names."""
        names_one = any(f"{{{each}}}" in self.path for each in _NAMES_ONE)
        return self.of or (Reach.NAMED if names_one else Reach.ORGANISATION)

    @property
    def audited(self) -> Kind | None:
        """As what it is written down, if it is."""
        return kind_of(self.audit, self.method, self.permission)

    @property
    def id(self) -> str:
        """What it is called in the contract: `openSession`, `setNetworkPolicy`."""
        if isinstance(self.call, Operation):
            return self.call.id
        first, *rest = getattr(self.call, "__name__", "call").split("_")
        return first + "".join(map(str.capitalize, rest))


@dataclasses.dataclass(frozen=True)
class Match(Generic[Ours]):
    """The row that a request takes, and what its `{name}` parts were."""

    row: Row[Ours]
    parameters: Mapping[str, str]


def relayed(prefix: str) -> Iterator[Row[Any]]:
    """The rows that machines answer, below `prefix`, which replaces the pilot API's own /v1."""
    for row in operations.OPERATIONS:
        if row.permission is not Permission.HOST:
            path = prefix + row.path.removeprefix("/v1")
            yield Row(row.method, path, row.permission, row, row.websocket, audit=row.audit)


class Table(Generic[Ours]):
    """Finds the row of a request. At most one fits, but that a literal segment is preferred to a `{name}`."""

    def __init__(self, rows: Sequence[Row[Ours]]) -> None:
        self.rows = tuple(rows)
        self._by_length: dict[int, list[tuple[Row[Ours], list[str]]]] = {}
        for row in rows:
            parts = row.path[1:].split("/")
            self._by_length.setdefault(len(parts), []).append((row, parts))

    def find(self, method: str, segments: Sequence[str], *, websocket: bool) -> Match[Ours]:
        """`NotFound` when no row has this path, `MethodNotAllowed` when one has, but not so: by another method, or as a
        WebSocket alone. One that is no WebSocket cannot be upgraded to, and then there is none."""
        candidates = self._by_length.get(len(segments), ())
        fits = [Match(row, found) for row, parts in candidates if (found := _match(parts, segments)) is not None]
        allowed = sorted({match.row.method for match in fits})
        if not fits or (websocket and not any(match.row.websocket for match in fits)):
            raise errors.NotFound("not found")
        fits = [match for match in fits if match.row.websocket is websocket]
        methods = {match.row.method: match for match in sorted(fits, key=lambda each: -len(each.parameters))}
        chosen = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if chosen is None or (chosen.row.method != method and isinstance(chosen.row.call, Operation)):
            raise faults.MethodNotAllowed("method not allowed", allowed=allowed)
        return chosen


# Session names are the agent's own: nothing else is worth asking for. No token is named like another call on tokens.
_SHAPES = {
    "id": re.compile(r"[0-9A-Za-z_-]{1,128}"),
    "token": re.compile(r"(?!(?:current|authenticate|authorize)\Z).+"),
}


def _match(parts: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    found = {}
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            shape = _SHAPES.get(part[1:-1])
            if not segment or (shape is not None and not shape.fullmatch(segment)):
                return None
            found[part[1:-1]] = segment
        elif part != segment:
            return None
    return found
