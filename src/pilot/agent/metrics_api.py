"""The endpoint that a Prometheus scrapes: facts of the machine and of its containers, read when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .. import errors
from ..server import response
from ..server.call import Call
from ..server.routing import Route
from ..wire import graph, operations
from .containers import verbs
from .containers.registry import Registry


class MetricsApi:
    """`memory_bytes`: all that the machine has, None where that cannot be told."""

    def __init__(self, registry: Registry, memory_bytes: Callable[[], int | None]) -> None:
        self._registry = registry
        self._memory_bytes = memory_bytes

    def routes(self) -> list[Route]:
        return [Route(operations.GET_METRICS, self.metrics)]

    async def metrics(self, _: Call) -> response.Response:
        """Now."""
        from . import metrics_text, sysinfo

        machine = await asyncio.to_thread(sysinfo.read, self._memory_bytes())
        told = metrics_text.text(machine, await asyncio.to_thread(self._stats))
        return response.Response(200, told.encode(), content_type=metrics_text.CONTENT_TYPE)

    def _stats(self) -> dict[str, graph.ContainerStats]:
        """Of those that run; one that ends meanwhile is left out."""
        found: dict[str, graph.ContainerStats] = {}
        for name in self._registry.running():
            try:
                found[name] = verbs.plan_stats(self._registry.find(name).stats())
            except (errors.PilotError, OSError):
                continue  # its cgroup has gone
        return found
