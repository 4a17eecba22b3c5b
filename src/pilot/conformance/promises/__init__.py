"""All promises, in the order in which they are asked: what takes the world or the machine away comes last."""

from __future__ import annotations

from ..promise import Promise
from . import derived, dial, files, machine, ports, sessions, world

ALL: tuple[Promise, ...] = (
    *dial.promises(),
    *machine.promises(),
    *derived.methods(),
    *(each for each in derived.bodies() if not each.uses_up),
    *world.promises(),
    *sessions.promises(),
    *files.promises(),
    *ports.promises(),
    *world.endings(),
    *derived.without_world(),
    *(each for each in derived.bodies() if each.uses_up),
    *world.last(),
)
