"""The routing table: which endpoint answers which operation."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from .. import errors
from ..wire import faults
from ..wire.operations import Answered, Asked, Operation
from . import response
from .call import Call

Endpoint = Callable[[Call], Awaitable[response.Response | None]]


@dataclasses.dataclass(frozen=True)
class Route:
    """An operation and who answers it, with the request in its hands."""

    operation: Operation[Any, Any]
    endpoint: Endpoint


def answering(operation: Operation[Asked, Answered], answer: Callable[[Asked], Awaitable[Answered]]) -> Route:
    """A route for a function from value to value: the body is read before, and the JSON written after."""

    async def endpoint(call: Call) -> response.Response:
        answered = await answer(await call.asked(operation))
        if answered is None:
            return response.Response(operation.status)
        return response.json(answered, operation.status)

    return Route(operation, endpoint)


@dataclasses.dataclass(frozen=True)
class Match:
    """The route that a request takes, and what its `{name}` parts were."""

    route: Route
    parameters: Mapping[str, str]


class Router:
    """Finds the route of a request: the first that fits, of which there is at most one but where one stands before
    another on purpose."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(route, route.operation.path.split("/")) for route in routes]

    def find(self, method: str, path: str, *, websocket: bool) -> Match:
        """`NotFound` when no route has this path, `MethodNotAllowed` when one has, but not so."""
        segments = path.split("/")
        fits = [(route, found) for route, parts in self._routes if (found := _match(parts, segments)) is not None]
        for route, found in fits:
            if route.operation.method == method and route.operation.websocket is websocket:
                return Match(route, found)
        if fits:
            kinds = sorted({"WebSocket" if each.operation.websocket else each.operation.method for each, _ in fits})
            allowed = sorted({each.operation.method for each, _ in fits})
            hint = f"use {' or '.join(kinds)}"
            raise faults.MethodNotAllowed(f"{method} {path}: not allowed", allowed=allowed, hint=hint)
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
