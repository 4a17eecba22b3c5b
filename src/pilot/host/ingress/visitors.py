"""Who may see a sprite's site: everybody where it is public, else who shows a token of its organisation.

    Authorization: Bearer <token>     consumed, whosever token it is: no sprite ever sees one, public or not
    Cookie: pilot-visit=<seal>        the same token, sealed for this one host; consumed as well

The token behind a cookie is asked for as if it were shown: one that was revoked opens nothing any more.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager

from ...wire import faults
from ...wire.permissions import Permission
from ..identity import authenticator
from ..identity.authenticator import Authenticator
from ..identity.principal import Principal
from ..relay.heads import Head
from ..store.tokens import Scope
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
class Admitted:
    """`member`: by whose leave; None where everybody may. `consumed`: Authorization has a token of ours: then no sprite
    may see it, who could use it for whatever it is good for."""

    member: Principal | None
    consumed: bool


_ANYBODY = Admitted(None, consumed=False)


@dataclasses.dataclass(frozen=True)
class Visitors:
    """Asked with each request."""

    authenticator: Authenticator
    seals: Seals

    async def admit(self, site: Site, head: Head) -> Admitted:
        """`NotKnown`, or `PermissionDenied` for a member who may not."""
        if site.is_public and head.first(b"authorization") is None:
            return _ANYBODY
        shown = await self.shown(head, is_public=site.is_public)
        member = None if site.is_public else self._permitted(site, await self._member(site, shown, head))
        return Admitted(member, consumed=shown is not None)

    def holding(self, admitted: Admitted, cut: Callable[[], object]) -> AbstractContextManager[None]:
        """For as long as what was asked for lasts: it is cut off when the key that let it in is revoked."""
        if admitted.member is None:
            return contextlib.nullcontext()
        return self.authenticator.holding(admitted.member, cut)

    async def shown(self, head: Head, *, is_public: bool) -> Principal | None:
        """Whose token Authorization has, if it has one of ours."""
        values = head.all(b"authorization")
        if len(values) > 1:
            raise faults.InvalidRequest(
                "request: more than one Authorization", hint="each could be the one that counts"
            )
        token = authenticator.presented(values[0]) if values else None
        if token is None or (is_public and not authenticator.could_be_token(token)):
            return None  # a site that is public has tokens of its own: nobody is asked for what looks like none of ours
        return await self.authenticator.authenticate(token)

    async def _member(self, site: Site, shown: Principal | None, head: Head) -> Principal:
        """The one who asks, by what Authorization or a cookie shows. `NotKnown`."""
        if shown is not None and _is_member(site, shown):
            return shown
        for sealed in cookies.values(head.headers, cookies.VISIT):
            token = self.seals.opened(VISIT, site.host, sealed)
            if token is not None and (member := await self.member(site, token)) is not None:
                return member
        raise NotKnown(f"sprite {site.sprite.name} is private", hint="show a token: Authorization: Bearer …")

    async def member(self, site: Site, token: str) -> Principal | None:
        """Whose token it is; None for one that is not of the sprite's organisation."""
        found = await self.authenticator.authenticate(token)
        return found if found is not None and _is_member(site, found) else None

    def _permitted(self, site: Site, member: Principal) -> Principal:
        asking = member.asking(_ACCESS.get(site.sprite.url_settings.private_access, _ADMINISTRATOR))
        if not asking.reaches(_scope(site)):
            raise faults.PermissionDenied(f"this token may not see sprite {site.sprite.name}")
        return asking


def _is_member(site: Site, who: Principal) -> bool:
    return who.organisation.id == site.sprite.organisation and who.reaches(_scope(site))


def _scope(site: Site) -> Scope:
    return Scope.of_sprite(site.sprite.id)
