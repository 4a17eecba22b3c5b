"""A client of a sprite has the sprite's world, and none of the machine's other containers: those are their host's.

So each call about commands names the world, before anything that the client says; the machine takes the first.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from ...wire import faults
from ...wire.operations import AnyOperation
from ...wire.permissions import Permission

_NAME, _WORLD = "container", "world"


def query_for(operation: AnyOperation, query: str) -> str:
    """The query that the machine is asked with; `PermissionDenied` for one that names another container."""
    if operation.permission is not Permission.EXEC:
        return query
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == _NAME and value != _WORLD:
            raise faults.PermissionDenied(f"container {value!r}: a sprite's clients have its world alone")
    return f"{_NAME}={_WORLD}&{query}" if query else f"{_NAME}={_WORLD}"
