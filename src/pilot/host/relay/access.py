"""Who asks, which sprite is meant, and the way to its machine; the same for every facade.

Authorization → principal → sprite → ready? → dial ──────────────────────────► stream
                               │ no, or nobody answers: wake, once ─► dial ──►
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping

from ... import errors
from ...machine import dial
from ...wire import dial as lines
from ...wire import faults
from ...wire.permissions import Permission
from ..identity import authenticator
from ..identity.authenticator import Authenticator
from ..identity.authority import Authority
from ..identity.issuer import Issuer
from ..identity.principal import Principal
from ..operations.uses import Uses
from ..services import ending
from ..services.addresses import Domain
from ..services.idle import Timing
from ..services.sprites import Sprites
from ..store.sprites import Sprite
from ..store.tokens import Scope
from ..tracing import OFF, Tracing
from .auditing import Auditing

WAKE_TIMEOUT_S = 60.0
# Fewer than the agent's own limit, so that pilotd can still ask a machine whose clients hold all that they may.
MAX_OPEN = 960


def named(scope: Scope, principal: Principal, parameters: Mapping[str, str]) -> Scope:
    """Of an app, and what else of it the path names. A command in a machine is known later (`require_command`)."""
    return dataclasses.replace(
        scope,
        machine=parameters.get("machine"),
        volume=parameters.get("volume"),
        feature=principal.feature,
        has_command="machine" in parameters and principal.permission is Permission.EXEC,
    )


@dataclasses.dataclass(frozen=True)
class Access:
    """The store is asked in threads: nothing here holds up the event loop."""

    authenticator: Authenticator
    sprites: Sprites
    authority: Authority
    issuer: Issuer
    domain: Domain = dataclasses.field(default_factory=Domain)
    auditing: Auditing | None = None
    tracing: Tracing = OFF
    timing: Timing = dataclasses.field(default_factory=Timing)

    @property
    def activity(self) -> Uses:
        """Open connections: who begins one counts before it asks for the sprite (`using`)."""
        return self.sprites.uses

    async def principal(self, authorization: bytes | None) -> Principal:
        """Whose token the Authorization header carries. `Unauthenticated`."""
        shown = authenticator.presented(authorization)
        found = None if shown is None else await self.authenticator.authenticate(shown)
        if found is None:
            raise faults.Unauthenticated("authentication failed")
        return found

    async def require_named(self, principal: Principal, parameters: Mapping[str, str]) -> None:
        """`NotFound` when the sprite or app that a path names is not there, or is none of the principal's business.

        Before anything else of a request is looked at: whatever its answer does, nothing of others is told.
        """
        if not principal.caveats:
            return
        app, sprite = parameters.get("app"), parameters.get("name")
        tokens, organisation = self.sprites.tokens, principal.organisation
        scope = named(
            await asyncio.to_thread(tokens.scope, organisation, app=app, sprite=sprite), principal, parameters
        )
        if not principal.reaches(scope):
            raise errors.NotFound("sprite not found" if app is None else f"app not found: {app}")

    async def sprite(self, principal: Principal, name: str) -> Sprite:
        """`NotFound`, also for one that it may not have what it asks for of."""
        found = await self.found(principal, name)
        principal.require_sprite(found.id)
        return found

    async def found(self, principal: Principal, name: str) -> Sprite:
        """The one of its organisation, whether or not it may have anything of it. `NotFound`."""
        found = await asyncio.to_thread(self.sprites.find, principal.organisation.id, name)
        if found.phase == "destroying":
            raise errors.NotFound("sprite not found")
        return found

    def check_room(self, sprite: Sprite) -> None:
        """`Exhausted` when its clients hold as many connections to the machine as they may."""
        if self.activity.open_connections(sprite.id) >= MAX_OPEN:
            raise faults.Exhausted(f"sprite {sprite.name}: {MAX_OPEN} connections are open already")

    async def open(self, sprite: Sprite) -> dial.Stream:
        """A stream to the pilot API of a machine whose world runs, woken when it did not."""
        if self.sprites.is_ready(sprite):
            try:
                return await self._dial(sprite)
            except dial.Busy as error:
                await asyncio.to_thread(self.sprites.suspect, sprite)
                raise faults.Unavailable(f"sprite {sprite.name} is busy: {error}", hint="try again") from error
            except errors.PeerError:
                self.sprites.mark_lost(sprite)
        await ending.finish(await asyncio.to_thread(self.sprites.wake, sprite), WAKE_TIMEOUT_S)
        try:
            return await self._dial(sprite)
        except errors.PeerError as error:
            raise faults.Unavailable(f"sprite {sprite.name}: its machine does not answer: {error}") from error

    async def _dial(self, sprite: Sprite) -> dial.Stream:
        return await dial.open_stream(self.sprites.dial_path(sprite), lines.PORT_API)
