"""Who may see a sprite's site: everybody where it is public, else who shows a token of its organisation.

    Authorization: Bearer <token>     consumed: the sprite never sees it
    Cookie: pilot-visit=<seal>        the same token, sealed for this one host; consumed as well

The token behind a cookie is asked for as if it were shown: one that was revoked opens nothing any more.
"""

from __future__ import annotations

import dataclasses

from ...wire import faults
from ...wire.permissions import Permission
from ..identity.principal import Authenticator, Principal
from ..relay.heads import Head
from . import cookies
from .seals import Seals
from .sites import Site

VISIT, CODE, LOGIN = "visit", "code", "login"
VISIT_S = 12 * 3600
# From one page to the next.
CODE_S = 60
# What `private_access` asks for beside membership; what is none of these is for nobody less than an administrator.
_ACCESS = {None: Permission.PORTS, "org_users": Permission.PORTS}
_ADMINISTRATOR = Permission.SPRITES_WRITE


class NotKnown(faults.Unauthenticated):
    """Nobody may see this without saying who they are."""


@dataclasses.dataclass(frozen=True)
class Visitors:
    """Asked with each request."""

    authenticator: Authenticator
    seals: Seals

    async def admit(self, site: Site, head: Head) -> bool:
        """Whether Authorization was for us. `NotKnown`, or `PermissionDenied` for a member who may not."""
        if site.is_public:
            return False
        shown = bearer(head.first(b"authorization"))
        if shown is not None and (principal := await self.member(site, shown)) is not None:
            self._require(site, principal)
            return True
        for sealed in cookies.values(head.headers, cookies.VISIT):
            token = self.seals.opened(VISIT, site.host, sealed)
            if token is not None and (principal := await self.member(site, token)) is not None:
                self._require(site, principal)
                return False
        raise NotKnown(f"sprite {site.sprite.name} is private", hint="show a token: Authorization: Bearer …")

    async def member(self, site: Site, token: str) -> Principal | None:
        """Whose token it is; None for one that is not of the sprite's organisation."""
        principal = await self.authenticator.authenticate(token)
        if principal is None or principal.organisation.id != site.sprite.organisation:
            return None
        return principal

    def _require(self, site: Site, principal: Principal) -> None:
        principal.require(_ACCESS.get(site.sprite.url_settings.private_access, _ADMINISTRATOR))


def bearer(authorization: bytes | None) -> str | None:
    """The token that an Authorization header shows."""
    scheme, _, token = (authorization or b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
