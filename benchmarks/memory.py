"""What idle sprites cost: the proportional share (PSS) of each kind of process, per sprite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import harness, processes
from .harness import Sample, Table
from .standin import Sprites

_COUNTS = (5, 20)
_KINDS: dict[str, Callable[[str, str], bool]] = {
    "agent_mib": lambda _, words: words == processes.AGENT,
    "init_mib": lambda _, words: words == processes.INIT,
    "reaper_mib": lambda _, words: words == processes.REAPER,
    "worker_mib": lambda comm, _: comm == "volume-worker",
}


def table(sprites: Sprites) -> Table:
    """As more and more sprites are there, each of which has run one command."""
    samples: dict[str, list[Sample]] = {}
    made: list[Any] = []
    for count in _COUNTS:
        while len(made) < count:
            made.append(sprites.create())
            made[-1].run("true")
        samples[f"{count} sprites"] = list(_samples(count))
    for sprite in made:
        sprite.destroy()
    note = "agent_init_mib is agent and init together; the worker of the disk (worker_mib) is apart."
    return harness.make_table("idle sprite: memory (PSS) of its processes", samples, [], "agent_init_mib", note)


def _samples(count: int) -> Iterator[Sample]:
    """One per sprite."""
    costs = {kind: sorted(map(processes.pss_mib, processes.find(wanted))) for kind, wanted in _KINDS.items()}
    for kind, found in costs.items():
        if len(found) != count:
            raise RuntimeError(f"{len(found)} processes for {kind} of {count} sprites")
    for row in zip(*costs.values(), strict=True):
        each = dict(zip(costs, row, strict=True))
        yield {"agent_init_mib": each["agent_mib"] + each["init_mib"], **each}
