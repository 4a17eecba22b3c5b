"""What a container asks of its own Machine, and the host answers: passed on with the machine's token added.

    container ─ /.fly/api ─► agent ─ method, path, body, and Authorization: the machine's ─► host
                      status, body ◄───────────────────────────────────────────────────────────

Nothing else of a request goes on, and nothing else of an answer comes back: no header of either side, so none that is
for one hop alone, and no token.
"""

from __future__ import annotations

import functools

from ...server import response
from ...server.call import Call
from ...server.routing import Route
from ...wire import operations, outward
from ...wire.operations import AnyOperation
from ..identity.own_token import OwnToken
from ..outward import Outward

_UNAUTHENTICATED = 401
MOST_BYTES = 1 << 20
_LEAST_S = 30.0


class PassingApi:
    def __init__(self, host: Outward, token: OwnToken) -> None:
        self._host = host
        self._token = token

    def routes(self) -> list[Route]:
        return [Route(each, functools.partial(self.pass_on, each)) for each in outward.PASSED_ON]

    async def pass_on(self, operation: AnyOperation, call: Call) -> response.Response:
        """Once more with another token, where the host has refused this one. `Unavailable` where no pilotd answers."""
        answer = await self._ask(operation, call)
        if answer.status == _UNAUTHENTICATED:
            self._token.refused()
            answer = await self._ask(operation, call)
        return answer

    async def _ask(self, operation: AnyOperation, call: Call) -> response.Response:
        from ...server import client  # what most machines never need is not loaded by all

        body, token = await call.body(MOST_BYTES), await self._token.get()
        stream = await self._host.open(operations.QUICK_S / 2)
        target, headers = operation.target(call.parameters), {"Authorization": token}
        timeout_s = max(_LEAST_S, operation.deadline_s or 0)
        answer = await client.request(stream, operation.method, target, body=body, headers=headers, timeout_s=timeout_s)
        async with answer:
            said = await answer.body(MOST_BYTES)
        return response.Response(answer.status, said, content_type=response.JSON if said else None)
