"""Events of a machine: what happened, numbered, and told again to whoever asks from a number on."""

from __future__ import annotations

from typing import Literal

import msgspec

from .graph import Health

EventType = Literal[
    "agent.started",
    "graph.changed",
    "container.started",
    "container.not_started",
    "container.stopping",
    "container.ended",
    "container.removed",
    "container.health",
    "container.files_not_shown",
    "world.out_of_memory",
    "credentials.stale",
    "gap",
]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of GET /v1/events. `seq` grows by one from event to event, over deaths of the agent too.

    container.started      pid
    container.not_started  message: why
    container.stopping     message: why
    container.ended        pid, exit_code, signal if one killed it, exit: the number by which it is acknowledged
    container.removed      ended on purpose by the host, with all that is in it
    container.health       health, message of the check
    container.files_not_shown  message: which of its files do not say what they are to, and why
    world.out_of_memory    message: how many of its processes the kernel has ended
    credentials.stale      message: why a token that the container's processes look for could not be written
    graph.changed          generation
    agent.started          restarts: how often the agent was started anew
    gap                    missed: so many events before the next one are not kept any more
    """

    seq: int
    time: str
    type: EventType
    container: str | None = None
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    exit: int | None = None
    health: Health | None = None
    generation: int | None = None
    restarts: int | None = None
    missed: int | None = None
    message: str | None = None
