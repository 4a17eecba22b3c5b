"""Machines of nobody, which run before anybody wants one (`operations.fly_pool`): a create takes one over.

    create ─► the member with roots of the same images, else one without roots, else any ─► another like it is made

So the pool comes to be what is asked for: each member that goes is followed by one with the roots that were wanted of
it. Which members are ready is a memory: those of a former pilotd are destroyed.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import threading

from ... import errors, ids
from ...ids import MachineId
from ..fsm.documents import Nothing
from ..fsm.engine import Ended, Engine
from ..operations import fly_pool as steps
from ..operations import fly_requests as requests
from ..operations.context import Host
from ..operations.fly_pool import MakeMember
from ..operations.fly_requests import MACHINE
from ..store import fly_members

log = logging.getLogger(__name__)

CLEAR_TIMEOUT_S = 60
FILL_PAUSE_S = 0.5
# Each root that a member has takes a process of its volume.
MOST_ROOTS = 16

Digests = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Ready:
    machine: MachineId
    digests: Digests


class FlyPool:
    """`size` members, or none where disks come with the start. Safe to use from any thread."""

    def __init__(self, host: Host, engine: Engine, size: int = 0) -> None:
        self._host = host
        self._engine = engine
        self._size = size
        self._lock = threading.Lock()
        self._ready: list[Ready] = []  # the oldest first
        self._making = 0

    def start(self) -> None:
        """Away with what a former pilotd left, then fill. Call once, after `Engine.resume`."""
        self._clear()
        for _ in range(self._size):
            self._make(())

    def claim(self, digests: Digests) -> Ready | None:
        """The one that fits best; the caller's alone, who says `wanted` or `give_back`."""
        with self._lock:
            found = min(self._ready, key=lambda each: _distance(each.digests, digests), default=None)
            if found is not None:
                self._ready.remove(found)
        return found

    def give_back(self, ready: Ready) -> None:
        """It was not taken after all."""
        with self._lock:
            self._ready.append(ready)

    def wanted(self, digests: Digests, launch: Ended) -> None:
        """By a Machine of these images, whether or not there was one for it: so a pool that could not be filled is,
        when it can be. Another one follows a moment after the launch, which goes first."""
        if not self._size:
            return
        roots = digests if len(digests) <= MOST_ROOTS else ()
        launch.add_done_callback(lambda _: self._make_soon(roots))

    def _make_soon(self, digests: Digests) -> None:
        timer = threading.Timer(FILL_PAUSE_S, self._make, (digests,))
        timer.name, timer.daemon = "fill-pool", True
        timer.start()

    def __len__(self) -> int:
        """Members that are ready."""
        with self._lock:
            return len(self._ready)

    def stop(self) -> None:
        """No more members are made or given away."""
        with self._lock:
            self._size = 0
            self._ready.clear()

    def clear(self) -> None:
        """None are left, for a pilotd that stops its machines. After `stop`."""
        concurrent.futures.wait(self._clear(), CLEAR_TIMEOUT_S)

    def _make(self, digests: Digests) -> None:
        with self._lock:
            if len(self._ready) + self._making >= self._size:
                return
            self._making += 1
        ready = Ready(ids.new_machine_id(), digests)
        try:
            ended = self._engine.start(steps.MAKE, ready.machine, MakeMember(digests))
        except errors.PilotError as error:
            log.warning("pool member not begun", extra={"error": str(error)})
            self._made(ready, is_made=False)
        else:
            ended.add_done_callback(lambda done: self._made(ready, is_made=_is_made(done)))

    def _made(self, ready: Ready, *, is_made: bool) -> None:
        """Instead of one whose images have gone there is one without roots; else the next create asks for another."""
        with self._lock:
            self._making -= 1
            if is_made and self._size:
                self._ready.append(ready)
        if not is_made and ready.digests:
            self._make_soon(())

    def _clear(self) -> list[Ended]:
        """When these have ended nothing of the pool is left, but what a launch has claimed."""
        runs = [run for run in self._engine.active() if run.kind == MACHINE]
        claimed = {run.resource for run in runs if run.action == requests.LAUNCH.name}
        making = [run for run in runs if run.action == steps.MAKE.name]
        for run in making:
            self._engine.cancel(MACHINE, run.resource)  # which undoes it
        left = [each.machine for each in fly_members.every(self._host.database) if each.machine not in claimed]
        ended = [self._engine.join(steps.DROP, id, Nothing()) for id in left]
        return ended + [waiting for run in making if (waiting := self._engine.waiting_for(run.id))]


def _distance(has: Digests, wanted: Digests) -> int:
    return 0 if has == wanted else 1 if not has else 2


def _is_made(ended: Ended) -> bool:
    if ended.exception() is not None:
        return False  # pilotd is stopping
    outcome = ended.result()
    if not outcome.done:
        log.warning("pool member failed", extra={"error": outcome.error})
    return outcome.done
