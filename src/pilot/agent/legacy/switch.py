"""Whether this is a machine for hosts that knew the old init: PUT /v1/run, or a run.json in the machine's root.

It is one for good, also for the next agents. The rest of this package is loaded when it is one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ... import errors
from ...server.routing import Route, answering
from ...wire import operations
from ...wire.run_file import RunFile
from .. import document
from ..containers.registry import Registry
from ..graph.supervisor import Supervisor
from ..machine import Machine
from ..sessions import Sessions

if TYPE_CHECKING:
    from .life import Life

# As in `life`, which is not loaded for it.
_STORE_NAME = "agent/run"
_log = logging.getLogger(__name__)


class Switch:
    """One per machine. `front(routes)` is called when port 10000 is to answer these first."""

    def __init__(self, machine: Machine, graph: Supervisor, registry: Registry, sessions: Sessions) -> None:
        self.front: Callable[[list[Route]], None] = lambda _routes: None
        self.on_end: Callable[[], None] = lambda: None
        self._machine = machine
        self._graph = graph
        self._registry = registry
        self._sessions = sessions
        self._life: Life | None = None

    def routes(self) -> list[Route]:
        return [answering(operations.APPLY_RUN_FILE, self.apply)]

    async def apply(self, run: RunFile) -> None:
        """Be one, with this main process; idempotent. `StateError` for another one, or where others run already."""
        from . import planning

        planning.check(run)
        if self._life is not None:
            if self._life.run != run:
                raise errors.StateError("the machine has another run.json already")
            return
        if self._graph.wanted.containers or self._registry.running():
            raise errors.StateError("the machine has containers already", hint="a run.json is for a machine of its own")
        self._turn_on(run)

    def restore(self) -> None:
        """As a former agent was, else as the machine's root says; what cannot be meant there is told, and left."""
        link = self._machine.link
        if _STORE_NAME in link.inherited:
            from .life import Kept

            fd = link.take(_STORE_NAME)
            kept = document.read(fd, Kept)
            os.close(fd)
            self._start(kept)
        elif os.path.exists(path := self._machine.paths.run_file):
            try:
                self._turn_on(_read(path))
            except (errors.PilotError, OSError) as error:
                _log.error("%s: %s", path, error)

    async def clean(self) -> None:
        """Its containers have ended."""
        if self._life is not None:
            await self._life.clean()

    async def close(self) -> None:
        """Leave it to the next agent."""
        if self._life is not None:
            await self._life.close()

    def _turn_on(self, run: RunFile) -> None:
        from .life import Kept

        self._start(Kept(run=run))

    def _start(self, kept: object) -> None:
        from . import life, routes

        assert isinstance(kept, life.Kept)
        self._life = life.Life(self._machine, self._graph, self._registry, kept)
        self._life.on_end = self.on_end
        memory_bytes = self._machine.memory_bytes
        self.front(routes.Routes(self._life, self._sessions, self._registry, self._graph, memory_bytes).routes())
        self._life.start()


def _read(path: str) -> RunFile:
    from . import planning

    with open(path, "rb") as file:
        data = file.read()
    try:
        run = msgspec.json.decode(data, type=RunFile)
    except errors.UNREADABLE as error:
        raise errors.SpecError("$", str(error)) from error
    planning.check(run)
    return run
