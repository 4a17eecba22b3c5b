"""The endpoint of the agent's own upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..server.routing import Route, answering
from ..wire import faults, operations, schema
from . import upgrade
from .machine import Paths

# Long enough for the answer to leave.
_LEAVE_S = 0.05


class UpgradeApi:
    """`on_upgrade` is called once the answer is out: this agent is to leave everything to the next one."""

    def __init__(self, paths: Paths) -> None:
        self.on_upgrade: Callable[[], None] = lambda: None
        self._run = paths.run
        self._lock = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [answering(operations.UPGRADE_AGENT, self.upgrade)]

    async def upgrade(self, request: schema.AgentRequest) -> schema.AgentAnswer:
        """Have another agent take over, if it can be loaded here and speaks this API."""
        if request.directory is not None and not request.directory.startswith("/"):
            raise faults.InvalidRequest(f"directory: {request.directory!r} is no absolute path")
        async with self._lock:
            told = await asyncio.to_thread(upgrade.choose, self._run, request.directory)
        asyncio.get_running_loop().call_later(_LEAVE_S, self.on_upgrade)
        return told
