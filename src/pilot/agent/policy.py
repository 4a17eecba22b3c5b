"""Which operations may not be asked any more: said by the host, and only ever more of them.

A host that has done what only it should ever do (configure, upgrade) may so tie its own hands, and those of whoever
takes its place. It is a document in init's store: in force for the machine's life, under each agent. What tells of the
machine's health, and of the policy itself, is never denied.
"""

from __future__ import annotations

import os
from typing import Any

from ..server.routing import Route, answering
from ..wire import faults, operations, schema
from ..wire.operations import Operation
from . import document
from .machine import Link

STORE_NAME = "agent/policy"
_KNOWN = frozenset(row.id for row in operations.OPERATIONS)
_ALWAYS = frozenset(
    row.id for row in (operations.GET_VERSION, operations.GET_STATUS, operations.GET_POLICY, operations.TIGHTEN_POLICY)
)


class PolicyApi:
    """One per machine. On the event loop."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._denied: frozenset[str] = frozenset()

    def routes(self) -> list[Route]:
        return [answering(operations.GET_POLICY, self.get), answering(operations.TIGHTEN_POLICY, self.tighten)]

    def restore(self) -> None:
        """As the former agent had it."""
        if STORE_NAME in self._link.inherited:
            fd = self._link.take(STORE_NAME)
            self._denied = frozenset(document.read(fd, schema.Policy).denied)
            os.close(fd)

    def check(self, operation: Operation[Any, Any]) -> None:
        """`PermissionDenied` for one that may not be asked."""
        if operation.id in self._denied:
            raise faults.PermissionDenied(f"{operation.id}: the machine's policy denies it")

    async def get(self, _: None) -> schema.Policy:
        """What is denied."""
        return schema.Policy(denied=sorted(self._denied))

    async def tighten(self, request: schema.Policy) -> schema.Policy:
        """Deny these as well; what is denied stays so."""
        for number, id in enumerate(request.denied):
            if id not in _KNOWN:
                raise faults.InvalidRequest(f"$.denied[{number}]: there is no operation {id!r}")
            if id in _ALWAYS:
                raise faults.InvalidRequest(f"$.denied[{number}]: {id} is never denied")
        denied = self._denied | frozenset(request.denied)
        if denied != self._denied:
            document.write(self._link, STORE_NAME, schema.Policy(denied=sorted(denied)))
            self._denied = denied
        return await self.get(None)
