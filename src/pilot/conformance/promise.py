"""A promise of the contract, as a value that can be listed before it is asked."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable

from .subject import Subject

Ask = Callable[[Subject], object]


class World(enum.Enum):
    """What has to be so of the user's world for a promise to be asked."""

    ANY = "any"
    RUNNING = "running"
    ABSENT = "absent"


@dataclasses.dataclass(frozen=True)
class Promise:
    """`operation` is an operationId, or `dial` for what comes before HTTP. `ask` raises `Unmet`, or anything of the
    machine's. `statuses`: of the refusals that it wants, for the check that the document has them.

    `uses_up`: the world or the machine is not there afterwards.
    """

    operation: str
    text: str
    ask: Ask
    world: World = World.ANY
    uses_up: bool = False
    statuses: tuple[int, ...] = ()
