"""Caveats of our own, in the range for private use: permissions of pilotd's tables, and sprites.

Others carry them, and refuse: to them they are of an unknown kind.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import msgspec

from ... import errors
from ..permissions import Permission
from . import caveats, packing
from .access import Access, Action, InvalidAccess, Refused, Request, Unspecified
from .caveats import Caveat, Struct

# "PILOT": the first of the range are what everybody takes for an example.
_FIRST = caveats.PRIVATE_FIRST + 0x50494C4F54
_EVERY_CHANGE = Action.WRITE | Action.CREATE | Action.DELETE | Action.CONTROL


@dataclasses.dataclass(frozen=True)
class HostAccess(Access):
    """A request to pilotd. `permission` None: nothing more than to be known."""

    permission: Permission | None = None
    sprite: str | None = None


def action_of(permission: Permission | None) -> Action:
    """Our permissions are coarser than actions: who may change a thing may make and delete it, so all is asked for."""
    if permission is None or permission is Permission.SELF:
        return Action.NONE
    if permission.value.endswith(":read"):
        return Action.READ
    return _EVERY_CHANGE


def _ours(asked: Request) -> HostAccess:
    if not isinstance(asked, HostAccess):
        raise InvalidAccess("the caveat is about pilotd's own calls")
    return asked


class Permissions(Struct, frozen=True):
    """Nothing but these."""

    number: ClassVar[int] = _FIRST
    name: ClassVar[str] = "PilotPermissions"
    permissions: list[str]

    def prohibits(self, asked: Request) -> None:
        permission = _ours(asked).permission
        if permission is not None and permission.value not in self.permissions:
            raise Refused(f"permission: {permission.value} is not allowed")


class Sprites(Struct, frozen=True):
    """Nothing but these sprites, by id."""

    number: ClassVar[int] = _FIRST + 1
    name: ClassVar[str] = "PilotSprites"
    sprites: list[str]

    def prohibits(self, asked: Request) -> None:
        sprite = _ours(asked).sprite
        if sprite is None:
            raise Unspecified("sprite: not named")
        if sprite not in self.sprites:
            raise Refused("sprite: not this one")


OWN: tuple[type[Permissions] | type[Sprites], ...] = (Permissions, Sprites)


def _parser(kind: type[Permissions] | type[Sprites]) -> caveats.Parse:
    decoder = msgspec.msgpack.Decoder(kind)

    def parse(body: bytes) -> Caveat:
        try:
            return decoder.decode(body)
        except errors.UNREADABLE as error:
            raise packing.Malformed(f"caveat {kind.name}: not what it should be") from error

    return parse


for _kind in OWN:
    caveats.register(_kind.number, _parser(_kind))
