"""The caveats that a macaroon carries, as one of a principal's: whatever is added to a token takes something away."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence

from ...wire.macaroons import caveats, own
from ...wire.macaroons.access import Refused, Unspecified
from ...wire.macaroons.caveats import Caveat
from ...wire.permissions import Permission
from ..store.tokens import Kind, Organisation, Scope

# What speaks of no resource can be told before it is known which is meant.
_OF_NO_RESOURCE = (own.Permissions, caveats.ActionMask, caveats.ValidityWindow)
# Names one of each kind that a request to pilotd is sure to name. Machines, their features, volumes and commands are
# none of them: what a body says of them is not looked at, and what is run in a sprite is no command of a Machine.
_NAMES_ALL = own.HostAccess(own.action_of(None), 0.0, organisation=0, app=0, sprite="")


def number(id: str) -> int:
    """Of an organisation or an app, which are numbers in caveats and hexadecimal here."""
    return int(id, 16)


@dataclasses.dataclass(frozen=True)
class Carried:
    """What `verify` has left of one token of `organisation`."""

    caveats: tuple[Caveat, ...]
    organisation: Organisation
    now_s: Callable[[], float] = time.time

    @functools.cached_property
    def _can_be_met(self) -> bool:
        """Whether each `IfPresent` speaks only of what requests to pilotd name: what they never name would be taken for
        absent in all of them, and `otherwise` would let through just what was to be restricted.
        """
        conditional = [each for each in self.caveats if isinstance(each, caveats.IfPresent)]
        return all(_is_named(packed.meaning) for each in conditional for packed in caveats.every(each.ifs))

    def permits(self, permission: Permission) -> bool:
        """As far as it can be told without the resource."""
        asked = self._asked(permission, Scope())
        return self._lets_through(asked, [each for each in self.caveats if isinstance(each, _OF_NO_RESOURCE)])

    def reaches(self, permission: Permission | None, scope: Scope) -> bool:
        return self._can_be_met and self._lets_through(self._asked(permission, scope), self._looked_at(scope))

    def _looked_at(self, scope: Scope) -> Sequence[Caveat]:
        """All; but of a command that is not known yet those about commands wait for it: whoever runs it asks again."""
        if scope.has_command and scope.command is None:
            return [each for each in self.caveats if not isinstance(each, caveats.Commands)]
        return self.caveats

    def _asked(self, permission: Permission | None, scope: Scope) -> own.HostAccess:
        return own.HostAccess(
            own.action_of(permission),
            self.now_s(),
            organisation=number(self.organisation.id),
            app=number(scope.id) if scope.kind is Kind.APP and scope.id else None,
            permission=permission,
            machine=scope.machine,
            machine_feature=scope.feature,
            volume=scope.volume,
            command=scope.command,
            sprite=scope.id if scope.kind is Kind.SPRITE else None,
        )

    @staticmethod
    def _lets_through(asked: own.HostAccess, given: Sequence[Caveat]) -> bool:
        try:
            for caveat in given:
                caveat.prohibits(asked)
        except Refused:
            return False
        return True


def _is_named(caveat: Caveat) -> bool:
    """Whether some request to pilotd names what the caveat speaks of."""
    try:
        caveat.prohibits(_NAMES_ALL)
    except Unspecified:
        return False
    except Refused:
        pass
    return True
