"""What pilotd says to a machine before anything that the client says; the machine takes the first.

A client of a sprite has the sprite's world, and none of the machine's other containers: those are their host's. So each
call about commands names the world. And a client of a terminal may be let go of when that is quiet: so it does not keep
the sprite awake for ever (`agent.quiet`).
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from ...wire import faults, operations
from ...wire.operations import AnyOperation
from ...wire.permissions import Permission

_NAME, _WORLD = "container", "world"
_WITH_TERMINALS = (operations.OPEN_SESSION, operations.ATTACH_SESSION)


def query_for(operation: AnyOperation, query: str, terminal_idle_s: float = 0.0) -> str:
    """The query that the machine is asked with; `PermissionDenied` for one that names another container."""
    if operation.permission is not Permission.EXEC:
        return query
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == _NAME and value != _WORLD:
            raise faults.PermissionDenied(f"container {value!r}: a sprite's clients have its world alone")
    said = [f"{_NAME}={_WORLD}"]
    if terminal_idle_s and operation in _WITH_TERMINALS:
        said.append(f"detach_after={max(1, round(terminal_idle_s * 1000))}ms")
    return "&".join([*said, query] if query else said)
