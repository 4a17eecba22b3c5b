"""A principal is an organisation, and caveats: each takes something away from what its key may do, none adds.

What is asked for is told in two parts, as they become known: the permission of the row that a request takes, and then
what it names. Both have to be let through by every caveat.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

from ... import errors
from ...wire import faults
from ...wire.permissions import GRANTABLE, ROLES, Permission, Role
from ..store.tokens import WHOLE, Known, Organisation, Scope


class Caveat(Protocol):
    """One restriction."""

    def permits(self, permission: Permission) -> bool:
        """Whether it may be had for anything at all."""
        ...

    def reaches(self, permission: Permission | None, scope: Scope) -> bool:
        """Whether it may be had for this. None: to know that it is there."""
        ...


@dataclasses.dataclass(frozen=True)
class Only:
    """Nothing but these permissions."""

    permissions: frozenset[Permission]

    def permits(self, permission: Permission) -> bool:
        return permission in self.permissions

    def reaches(self, permission: Permission | None, scope: Scope) -> bool:
        return permission is None or self.permits(permission)


@dataclasses.dataclass(frozen=True)
class Within:
    """Nothing but this one app or sprite."""

    scope: Scope

    def permits(self, permission: Permission) -> bool:
        return True

    def reaches(self, permission: Permission | None, scope: Scope) -> bool:
        return (scope.kind, scope.id) == (self.scope.kind, self.scope.id)


@dataclasses.dataclass(frozen=True)
class Principal:
    """Without caveats: whatever its organisation may.

    `key`: the id of the key that it has shown, if it is one that can be revoked. `permission`: what it asks for now,
    and `feature`: of which feature of a machine.
    """

    organisation: Organisation
    caveats: tuple[Caveat, ...] = ()
    key: str | None = None
    expires_us: int | None = None
    permission: Permission | None = None
    feature: str | None = None

    def may(self, permission: Permission) -> bool:
        """What is pilotd's own no principal may."""
        return permission in GRANTABLE and all(caveat.permits(permission) for caveat in self.caveats)

    def granted(self) -> frozenset[Permission]:
        """All that it may."""
        return frozenset(permission for permission in GRANTABLE if self.may(permission))

    def asking(self, permission: Permission, feature: str | None = None) -> Principal:
        """The same, who asks for that and may. `PermissionDenied`."""
        if not self.may(permission):
            raise faults.PermissionDenied(f"this token may not do that ({permission.value})")
        return dataclasses.replace(self, permission=permission, feature=feature)

    def reaches(self, scope: Scope) -> bool:
        """Whether what it asks for may be had for this."""
        return all(caveat.reaches(self.permission, scope) for caveat in self.caveats)

    def require_whole(self) -> None:
        """`PermissionDenied` unless it may have what it asks for of all that its organisation has."""
        if not self.reaches(WHOLE):
            raise faults.PermissionDenied("this token is not for all of its organisation")

    def require_sprite(self, id: str) -> None:
        """`NotFound` for a sprite that is none of its business, as if there were none."""
        if not self.reaches(Scope.of_sprite(id)):
            raise errors.NotFound("sprite not found")


def of_key(known: Known) -> Principal:
    """Whoever has that key."""
    wanted = known.token.wanted
    role: tuple[Caveat, ...] = () if wanted.role is Role.ADMIN else (Only(ROLES[wanted.role]),)
    within: tuple[Caveat, ...] = () if wanted.scope.is_whole else (Within(wanted.scope),)
    return Principal(known.organisation, (*role, *within), known.token.id, wanted.expires_us)
