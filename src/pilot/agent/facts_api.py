"""Endpoints of facts: what the machine has and uses, and its network; what reads them is loaded when asked."""

from __future__ import annotations

import asyncio
from typing import Literal

from ..server.routing import Route, answering
from ..wire import facts, operations


class FactsApi:
    """Of one machine; `memory_bytes` is all that it has, None where that cannot be told."""

    def __init__(self, memory_bytes: int | None, isolation: Literal["container", "vm"]) -> None:
        self.memory_bytes = memory_bytes
        self._isolation = isolation

    def routes(self) -> list[Route]:
        return [
            answering(operations.GET_SYSINFO, self.sysinfo),
            answering(operations.GET_NETWORK, self.network),
            answering(operations.GET_DIAGNOSTICS, self.diagnostics),
        ]

    async def sysinfo(self, _: None) -> facts.Sysinfo:
        """Now."""
        from . import sysinfo

        return await asyncio.to_thread(sysinfo.read, self.memory_bytes)

    async def network(self, _: None) -> facts.Network:
        """Now; changes of ports are told by `watchPorts`."""
        from . import network_facts

        return await asyncio.to_thread(network_facts.read)

    async def diagnostics(self, _: None) -> facts.Diagnostics:
        """Now."""
        from . import diagnostics

        tasks = diagnostics.tasks()  # they are of this thread
        return await asyncio.to_thread(diagnostics.read, tasks, has_kernel=self._isolation == "vm")
