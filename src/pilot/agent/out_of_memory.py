"""What the kernel has ended in the world for want of memory: counted, told as an event, and to whoever ran it.

    the kernel's notice                ─► a look at its counters ─► more than before: an event, and when it was
    a command that ends as by SIGKILL  ─► a look at its counters ─► more than at its start: a line of its stderr

The notice of v1 comes before the end of a process, so that the counters are looked at for a while after it.
"""

from __future__ import annotations

import asyncio
import logging
import signal

from .. import errors
from ..kernel import cgroups, hierarchies
from ..kernel.cgroup_oom import OomEvents
from ..wire import schema, timestamps
from . import world_limits
from .containers import naming
from .events import Events

KILLED = 128 + signal.SIGKILL
LOOK_AGAIN_S = (0.1, 1.0)
_log = logging.getLogger(__name__)


class OutOfMemory:
    """Of the world that runs. On the event loop; owns the descriptor of the notices."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._notices: OomEvents | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._last: str | None = None
        self.count = 0

    def begin(self) -> None:
        """A world runs, perhaps since long: what was counted before is told to nobody."""
        self.end()
        group = cgroups.Cgroup(hierarchies.probe_hierarchies().paths(world_limits.CGROUP))
        try:
            self._notices = group.oom_events()
        except errors.HostError as error:
            _log.info("nobody counts what is ended for want of memory: %s", error)
            return
        self.count = self._notices.read() or 0
        asyncio.get_running_loop().add_reader(self._notices.fileno(), self._on_notice)

    def end(self) -> None:
        """It runs no more, or this agent does not."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._notices is not None:
            asyncio.get_running_loop().remove_reader(self._notices.fileno())
            self._notices.close()
            self._notices = None
        self.count, self._last = 0, None

    def status(self) -> schema.OutOfMemory | None:
        """None as long as nothing was ended."""
        return None if self._last is None else schema.OutOfMemory(processes=self.count, last_at=self._last)

    def last_words(self, exit_code: int, count_before: int) -> str:
        """What is to be said to who ran a command that has ended so, when this may be why; else nothing."""
        if exit_code != KILLED or self.look() <= count_before:
            return ""
        limits = world_limits.held() or {}
        most = f" (the sprite may use {limits['memory']['limit'] >> 20} MiB)" if "memory" in limits else ""
        return f"sprite: killed: out of memory{most}\n"

    def look(self) -> int:
        """How many processes have been ended by now; what is new is told."""
        found = None if self._notices is None else self._notices.read()
        if found is None:
            return self.count
        more, self.count = found - self.count, found
        if more > 0:
            self._last = timestamps.now()
            told = f"out of memory: {more} process{'es were' if more > 1 else ' was'} ended"
            self._events.add("world.out_of_memory", naming.WORLD, message=told)
        return found

    def _on_notice(self) -> None:
        self.look()
        if not self._timers:
            loop = asyncio.get_running_loop()
            self._timers = [loop.call_later(later_s, self.look) for later_s in LOOK_AGAIN_S[:-1]]
            self._timers.append(loop.call_later(LOOK_AGAIN_S[-1], self._look_last))

    def _look_last(self) -> None:
        self._timers.clear()
        self.look()
