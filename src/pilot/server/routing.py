"""The routing table as data: what is called for which method and path, and how long it may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from .. import errors
from ..wire import faults

if TYPE_CHECKING:
    from .call import Call
    from .response import Response

Endpoint = Callable[["Call"], Awaitable["Response | None"]]


class Route(msgspec.Struct, frozen=True):
    """One operation of the API.

    `pattern` is a path whose `{name}` parts match one segment; `operation` its operationId in the OpenAPI document.
    `deadline_s` bounds the time until the answer begins (None: the endpoint bounds each of its own waits).
    """

    method: str
    pattern: str
    operation: str
    endpoint: Endpoint
    deadline_s: float | None = 30.0
    websocket: bool = False


class Match(msgspec.Struct, frozen=True):
    """The route that a request takes, and what its `{name}` parts were."""

    route: Route
    parameters: Mapping[str, str]


class Router:
    """Finds the route of a request. At most one route fits."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(route, route.pattern.split("/")) for route in routes]

    @property
    def routes(self) -> list[Route]:
        """All routes, in the order given."""
        return [route for route, _ in self._routes]

    def find(self, method: str, path: str, *, websocket: bool) -> Match:
        """`NotFound` when no route has this path, `MethodNotAllowed` when one has, but not so."""
        segments = path.split("/")
        fits = [(route, found) for route, parts in self._routes if (found := _match(parts, segments)) is not None]
        for route, found in fits:
            if route.method == method and route.websocket is websocket:
                return Match(route, found)
        if fits:
            kinds = sorted({"WebSocket" if route.websocket else route.method for route, _ in fits})
            raise faults.MethodNotAllowed(f"{method} {path}: not allowed", hint=f"use {' or '.join(kinds)}")
        raise errors.NotFound(f"no such call: {method} {path}")


def _match(parts: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(parts) != len(segments):
        return None
    found = {}
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            if not segment:
                return None
            found[part[1:-1]] = segment
        elif part != segment:
            return None
    return found
