"""What a machine may know of itself, as this host's rows have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...wire import outward
from ..store import machines, sprites
from ..store.database import Database
from .rows import Caller, Row, answering


def rows(database: Database) -> Sequence[Row]:
    """All of them."""

    def get_self(caller: Caller, _asked: None, _parameters: Mapping[str, str]) -> outward.Self:
        machine = machines.find(database, caller.machine)
        owner = sprites.of_machine(database, caller.machine)
        return outward.Self(
            machine=machine.id,
            isolation=machine.isolation,
            memory_bytes=machine.memory_bytes,
            cpus=machine.cpus,
            sprite=owner.name if owner else None,
            organisation=owner.organisation if owner else None,
        )

    return (answering(outward.GET_SELF, get_self),)
