"""Checks as they are carried out: asked in the background, one at a time each, and noted where they say something new.

What is asked and how is `probing`; when, and what follows from an answer, is `deciding`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping

from ... import errors
from ...wire.graph import Check, Container
from ..containers.registry import Registry
from ..events import Events
from ..machine import Exits
from . import health, probing, state
from .nodes import Nodes
from .processes import Processes
from .state import Node


class Prober:
    """One per machine. On the running loop."""

    def __init__(
        self,
        nodes: Nodes,
        wanted: Callable[[], Mapping[str, Container]],
        registry: Registry,
        processes: Processes,
        exits: Exits,
        events: Events,
    ) -> None:
        self._nodes = nodes
        self._wanted = wanted
        self._registry = registry
        self._processes = processes
        self._exits = exits
        self._events = events
        self.under_way: set[tuple[str, str]] = set()
        """(container, check) of those that are being asked."""

    async def probe(self, name: str, check: Check) -> None:
        """Ask it once, and note the answer where the same process still runs."""
        node = self._nodes.find(name)
        try:
            if node is not None:
                message = await self._ask(name, node, check)
                self._note(name, node, check, message)
        finally:
            self.under_way.discard((name, check.name))
            self._registry.changed.notify()

    async def _ask(self, name: str, node: Node, check: Check) -> str | None:
        inside = None
        if check.exec is not None:
            assert node.made is not None
            try:
                process = await asyncio.to_thread(self._processes.of_check, node.made)
                inside = probing.Inside(self._registry.find(node.made.within or name), process)
            except (errors.PilotError, OSError) as error:
                return str(error)
        where = self._registry.pid((node.made and node.made.within) or name)
        return await probing.ask(check, inside, self._exits, os.getpid() if where is None else where)

    def _note(self, name: str, asked: Node, check: Check, message: str | None) -> None:
        """Written down only where it says something new: a check that passes again and again costs nothing."""
        before = self._nodes.find(name)
        if before is None or before.process != asked.process or not before.runs:
            return
        after = state.probed(before, check, message is None, message or "", time.monotonic())
        self._tell(name, before, after)
        old, new = before.probed.get(check.name, state.Probed()), after.probed[check.name]
        if (old.passed, old.failures) == (new.passed, new.failures):
            self._nodes.remember(name, after)
        else:
            self._nodes.write(name, after)

    def _tell(self, name: str, before: Node, after: Node) -> None:
        wanted = self._wanted().get(name)
        if wanted is None:
            return
        was, found = health.health_of(wanted, before), health.health_of(wanted, after)
        if was != found:
            failed = next((after.probed[check.name].message for check in health.failing(wanted, after)), None)
            pid = None if after.process is None else after.process.pid
            self._events.add("container.health", name, pid=pid, health=found, message=failed)
