"""Endpoints of containers: which there are, how they ended, and that it has been heard."""

from __future__ import annotations

from ...server import response
from ...server.call import Call
from ...server.routing import Route, answering
from ...wire import faults, operations, schema
from ..decimals import parse_decimal
from . import naming
from .registry import Registry
from .verbs import row_of


class ContainersApi:
    """What is told of the containers of a machine."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def routes(self) -> list[Route]:
        return [
            answering(operations.LIST_CONTAINERS, self.list),
            Route(operations.ACKNOWLEDGE_EXIT, self.acknowledge),
        ]

    async def list(self, _: None) -> schema.ContainerList:
        """Those that run, and those of which an end has not been acknowledged."""
        return schema.ContainerList(containers=[self._row(name) for name in self._registry.names()])

    async def acknowledge(self, call: Call) -> response.Response:
        """An end has been heard of; idempotent."""
        name = naming.check_name(call.parameters["name"])
        seq = parse_decimal(call.parameters["seq"])
        if seq is None:
            raise faults.InvalidRequest(f"exit: {call.parameters['seq']!r} is no number")
        self._registry.exits.acknowledge(name, seq)
        return response.Response(operations.ACKNOWLEDGE_EXIT.status)

    def _row(self, name: str) -> schema.ContainerRow:
        exits = [row_of(each) for each in self._registry.exits.of(name)]
        return schema.ContainerRow(
            name=name, status=self._registry.status(name), pid=self._registry.pid(name), exits=exits
        )
