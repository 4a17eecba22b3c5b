"""One permitted request of pilotd's own calls, whatever the facade, and what all answers need."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping

from starlette.requests import Request

from ...wire.permissions import Permission
from ..identity.principal import Principal
from ..relay.access import Access
from ..relay.crowd import Kind
from ..services.sprites import Sprites
from ..store.sprites import Sprite
from ..store.tokens import Organisation, Scope
from .sprites import bodies, shapes


@dataclasses.dataclass(frozen=True)
class Call:
    """The store, volumed and the kernel are asked in threads: no answer may hold up another."""

    request: Request
    access: Access
    principal: Principal | None  # None for calls that want none
    parameters: Mapping[str, str]
    hold: Callable[[Kind], None]  # for an answer that lasts: `Unavailable` when there are as many as there may be

    @property
    def sprites(self) -> Sprites:
        return self.access.sprites

    @property
    def organisation(self) -> Organisation:
        assert self.principal is not None
        return self.principal.organisation

    async def sprite(self) -> Sprite:
        """The one that the path names."""
        assert self.principal is not None
        return await self.access.sprite(self.principal, self.parameters["name"])

    def reaches(self, sprite: str) -> bool:
        """Whether what is asked for may be had of the sprite with that id."""
        assert self.principal is not None
        return self.principal.reaches(Scope.of_sprite(sprite))

    def may(self, permission: Permission, sprite: str) -> bool:
        """Whether something more than what is asked for may be had of the sprite with that id."""
        assert self.principal is not None
        asking = dataclasses.replace(self.principal, permission=permission)
        return asking.may(permission) and asking.reaches(Scope.of_sprite(sprite))

    async def body(self, kind: type[bodies.T]) -> bodies.T:
        return bodies.parse(kind, await bodies.read(self.request))

    async def describe(self, row: Sprite) -> shapes.SpriteShape:
        """The status is asked of the kernel."""
        return await asyncio.to_thread(self.shape, row)

    def shape(self, row: Sprite) -> shapes.SpriteShape:
        """As `describe`, for who is in a thread already."""
        base = self.request.base_url
        host = self.access.domain.host(row.name, row.suffix)
        url = f"{base.scheme}://{host}" + (f":{base.port}" if base.port else "")
        return shapes.sprite(row, self.organisation.slug, self.sprites.status(row), url, self.sprites.isolation(row))
