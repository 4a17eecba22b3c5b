"""Sprites made before anybody wants one: disk forked and attached, machine and world running; what is left is a name.

    pool run     record → disk → machine → boot → world → ready    a row of no one's, phase pooling, then pooled
    create run   record takes the row over → disk, machine, boot find everything done → world renames it → publish

A member is a sprite of an organisation that nobody has a token of, so every step treats it as one; `every` leaves such
rows out. Which members are ready is a memory: those of a former pilotd are destroyed, for base and agent may be older.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import logging
import secrets
import threading
import uuid
from collections.abc import Mapping

from ... import errors, ids
from ...ids import MachineId, SpriteName, VolumeId
from ..fsm.documents import Nothing
from ..fsm.engine import Ended, Engine
from ..fsm.outcome import Outcome
from ..operations import machines, requests
from ..operations.context import Host
from ..operations.requests import SPRITE, MakeMember, Member
from ..operations.results import Booted
from ..store import sprites, tokens
from ..vmm.shape import Shape

log = logging.getLogger(__name__)

CLEAR_TIMEOUT_S = 60
FILL_PAUSE_S = 0.5
ORGANISATION = ".pool"  # no slug of an organisation begins like this


@dataclasses.dataclass(frozen=True)
class Ready:
    """A member, for a create to take over: its ids, and what the request says of it."""

    id: str
    machine: MachineId
    volume: VolumeId
    claimed: Member


@dataclasses.dataclass
class _Shelf:
    """The members of one shape: how many there shall be, those that are ready, and how many are being made."""

    size: int
    ready: collections.deque[Ready] = dataclasses.field(default_factory=collections.deque)
    making: int = 0


class Pool:
    """So many members of each shape; none at all is no pool. Safe to use from any thread."""

    def __init__(self, host: Host, engine: Engine, sizes: Mapping[Shape, int]) -> None:
        self._host = host
        self._engine = engine
        self._lock = threading.Lock()
        self._shelves = {shape: _Shelf(size) for shape, size in sizes.items() if size}
        self._organisation = tokens.ensure_organisation(host.database, ORGANISATION).id if self._shelves else ""

    def start(self) -> None:
        """Away with what a former pilotd left, then fill. Call once, after `Engine.resume`."""
        self._clear()
        self.fill()

    def claim(self, shape: Shape) -> Ready | None:
        """One of that shape; the caller's alone."""
        with self._lock:
            shelf = self._shelves.get(shape)
            return shelf.ready.popleft() if shelf and shelf.ready else None

    def __len__(self) -> int:
        """Members that are ready."""
        with self._lock:
            return sum(len(shelf.ready) for shelf in self._shelves.values())

    def fill(self) -> None:
        """Begin to make what is missing."""
        for shape, missing in self._missing().items():
            for _ in range(missing):
                self._make(shape)

    def _missing(self) -> dict[Shape, int]:
        """How many to make of each shape; they count as being made from here on."""
        found: dict[Shape, int] = {}
        with self._lock:
            for shape, shelf in self._shelves.items():
                found[shape] = max(shelf.size - len(shelf.ready) - shelf.making, 0)
                shelf.making += found[shape]
        return found

    def fill_soon(self) -> None:
        """Begin a moment later: what the new sprite was wanted for goes first."""
        if self._shelves:
            timer = threading.Timer(FILL_PAUSE_S, self.fill)
            timer.name, timer.daemon = "fill-pool", True
            timer.start()

    def stop(self) -> None:
        """No more members are made or given away."""
        with self._lock:
            for shelf in self._shelves.values():
                shelf.size = 0
                shelf.ready.clear()

    def clear(self) -> None:
        """None are left, for a pilotd that stops its machines. After `stop`."""
        concurrent.futures.wait(self._clear(), CLEAR_TIMEOUT_S)

    def _make(self, shape: Shape) -> None:
        member = MakeMember(
            organisation=self._organisation,
            name=SpriteName(f"member-{secrets.token_hex(8)}"),
            suffix=secrets.token_hex(2),
            machine=ids.new_machine_id(),
            volume=VolumeId(f"sprite-{uuid.uuid4()}"),
            isolation=shape.isolation,
            config=machines.config_of(self._host, shape.size),
        )
        id = f"sprite-{uuid.uuid4()}"
        try:
            ended = self._engine.start(requests.POOL, id, member)
        except errors.PilotError as error:
            log.warning("pool member not begun", extra={"error": str(error)})
            self._made(shape, None)
        else:
            ended.add_done_callback(lambda done: self._made(shape, _finished(done, id, member)))

    def _made(self, shape: Shape, member: Ready | None) -> None:
        """One that failed is not tried again at once: the next create asks for it."""
        with self._lock:
            self._shelves[shape].making -= 1
            if member is not None and self._shelves[shape].size:
                self._shelves[shape].ready.append(member)

    def _clear(self) -> list[Ended]:
        """When these have ended nothing of the pool is left, but what a create has claimed."""
        runs = self._engine.active()
        claimed = {run.resource for run in runs if run.action == requests.CREATE.name}
        making = [run for run in runs if run.action == requests.POOL.name]
        for run in making:
            self._engine.cancel(SPRITE, run.resource)  # which undoes it, also before there is a row
        members = [row.id for row in sprites.members(self._host.database) if row.id not in claimed]
        ended = [self._engine.join(requests.DESTROY, id, Nothing()) for id in members]
        return ended + [waiting for run in making if (waiting := self._engine.waiting_for(run.id))]


def _finished(ended: Ended, id: str, member: MakeMember) -> Ready | None:
    if ended.exception() is not None:
        return None  # pilotd is stopping
    outcome: Outcome = ended.result()
    if not outcome.done:
        log.warning("pool member failed", extra={"error": outcome.error})
        return None
    return Ready(id, member.machine, member.volume, Member(outcome.result(Booted).disk))
