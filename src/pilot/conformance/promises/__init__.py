"""All promises, in the order in which they are asked: what takes the world or the machine away comes last."""

from __future__ import annotations

from ..promise import Promise, World
from . import derived, dial, files, graph, machine, ports, services, sessions, world

ALL: tuple[Promise, ...] = (
    *dial.promises(),
    *machine.promises(),
    *derived.methods(),
    *(each for each in derived.bodies() if not each.uses_up),
    *world.promises(),
    *(each for each in graph.promises() if each.world is not World.ABSENT),
    *services.promises(),
    *sessions.promises(),
    *files.promises(),
    *ports.promises(),
    *world.endings(),
    *(each for each in graph.promises() if each.world is World.ABSENT),
    *derived.without_world(),
    *(each for each in derived.bodies() if each.uses_up),
    *world.last(),
)
