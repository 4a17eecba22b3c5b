"""What root of each sprite may do: a policy on its row, of its next world."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ... import errors
from ...wire import schema
from ..operations import machines
from ..operations.context import Host
from ..store import events, sprites
from ..store.sprites import Sprite


class Privileges:
    """`status_of(sprite)`: running, warm or cold."""

    def __init__(self, host: Host, status_of: Callable[[Sprite], str]) -> None:
        self._host = host
        self._status_of = status_of

    def set(self, sprite: Sprite, wanted: schema.Privileges) -> None:
        """What runs keeps what it has."""
        with self._host.database.transaction() as tx:
            sprites.update(tx, sprite.id, privileges=wanted)
            events.add(tx, "sprite.privileges", f"sprite/{sprite.id}", {"privileges": msgspec.to_builtins(wanted)})

    def are_pending(self, sprite: Sprite) -> bool | None:
        """Whether its world runs with others yet, by its own word; None when that cannot be asked. Blocks."""
        if self._status_of(sprite) == "cold":
            return False
        try:
            if sprite.machine is None or machines.is_frozen(self._host, sprite.machine):
                return None
            in_force = self._host.api(sprite).status().privileges
        except errors.PilotError:
            return None
        return None if in_force is None else _spelled(in_force) != _spelled(sprite.privileges)


def _spelled(privileges: schema.Privileges) -> schema.Privileges:
    """The profile of which nothing is said by its name."""
    return msgspec.structs.replace(privileges, profile=privileges.profile or "standard")
