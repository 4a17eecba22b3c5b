"""Who this machine is, for others to believe: its host signs that. Nothing that signs is in the machine."""

from __future__ import annotations

from ...server import response
from ...server.call import Call
from ...server.routing import Route
from ...wire import operations, outward
from ..outward import Outward


class IdentityApi:
    def __init__(self, host: Outward) -> None:
        self._host = host

    def routes(self) -> list[Route]:
        return [Route(outward.CREATE_OIDC_TOKEN, self.create_token)]

    async def create_token(self, call: Call) -> response.Response:
        """The bare token, as Fly's clients read it. `Unavailable` where no pilotd answers."""
        asked = await call.asked(outward.CREATE_OIDC_TOKEN)
        made = await self._host.call(outward.CREATE_OIDC_TOKEN, asked, operations.QUICK_S / 2)
        return response.Response(200, made.token.encode(), content_type="text/plain")
