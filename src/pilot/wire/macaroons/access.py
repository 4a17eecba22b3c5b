"""What is asked for, as caveats look at it: an action on a resource, in a tree of resources that only goes down.

    organisation ─┬─ app ─┬─ machine ─┬─ machine feature
                  │       ├─ volume    └─ command
                  │       └─ app feature
                  ├─ feature ── cluster (of litefs-cloud)
                  └─ storage object

A child is asked for together with all above it; of siblings one at most.
"""

from __future__ import annotations

import dataclasses
import enum

from ... import errors


class Action(enum.IntFlag):
    """Bits of a mask. `*` in the JSON form is every bit there could be, also those without a name."""

    NONE = 0
    READ = 1
    WRITE = 2
    CREATE = 4
    DELETE = 8
    CONTROL = 16
    ALL = 31


class Role(enum.IntFlag):
    """Of a user in an organisation."""

    MEMBER = 1
    BILLING_MANAGER = 2
    ADMIN = 0xFFFFFFFF


EVERYTHING = 0xFFFF
_LETTERS = (("r", Action.READ), ("w", Action.WRITE), ("c", Action.CREATE), ("d", Action.DELETE), ("C", Action.CONTROL))

# What members may do with features of the organisation; what is not here is for administrators.
MEMBER_FEATURES: dict[str, int] = {
    **dict.fromkeys(("wg", "domain", "site", "builder", "addon", "checks", "litefs-cloud"), Action.ALL),
    **dict.fromkeys(("membership", "billing", "authentication"), Action.READ),
    **dict.fromkeys(("deletion", "document_signing"), Action.NONE),
}
CLUSTERS = "litefs-cloud"


def parse_action(text: str) -> int:
    """`rw` → 3; letters without a meaning mean nothing."""
    return EVERYTHING if text == "*" else sum(bit for letter, bit in _LETTERS if letter in text)


def action_text(mask: int) -> str:
    """The letters of a mask."""
    return "".join(letter for letter, bit in _LETTERS if mask & bit)


class Refused(errors.PilotError):
    """The token does not permit what is asked for."""


class Unspecified(Refused):
    """A caveat speaks of a resource that the request does not name. `IfPresent` looks for this."""


class InvalidAccess(Refused):
    """The request is of a kind that the caveat does not know, or contradicts itself."""


@dataclasses.dataclass(frozen=True)
class Access:
    """One request. `now_s`: seconds since 1970, by the clock of who verifies."""

    action: int
    now_s: float
    organisation: int | None = None
    app: int | None = None
    app_feature: str | None = None
    feature: str | None = None
    volume: str | None = None
    machine: str | None = None
    machine_feature: str | None = None
    mutation: str | None = None
    cluster: str | None = None
    command: tuple[str, ...] | None = None
    storage_object: str | None = None
    source_machine: str | None = None
    source_app: str | None = None
    source_organisation: str | None = None

    @property
    def permitted_roles(self) -> tuple[int, ...]:
        """Any one of them may do this."""
        allowed = Action.ALL if self.feature is None else MEMBER_FEATURES.get(self.feature, -1)
        member = self.feature is None or (allowed >= 0 and self.action & ~allowed == 0)
        return (Role.MEMBER,) if member else (Role.ADMIN,)

    def check(self) -> None:
        """`InvalidAccess` or `Unspecified` unless what is asked for is one place in the tree."""
        if self.organisation is None:
            raise Unspecified("the organisation is not named")
        _one_of("organisation", self.app, self.feature, self.storage_object)
        _one_of("app", self.machine, self.volume, self.app_feature, parent=self.app)
        _one_of("machine", self.command, self.machine_feature, parent=self.machine)
        if self.cluster is not None and self.feature != CLUSTERS:
            raise InvalidAccess(f"a cluster belongs to the feature {CLUSTERS}")


@dataclasses.dataclass(frozen=True)
class DischargeRequest:
    """Asked of a third party: who has authenticated, and until when the discharge is to be valid."""

    now_s: float
    expires_s: float
    users: frozenset[int] = frozenset()
    organisations: frozenset[int] = frozenset()
    google_domains: frozenset[str] = frozenset()
    github_organisations: frozenset[int] = frozenset()


Request = Access | DischargeRequest


def _one_of(above: str, *children: object, parent: object = ...) -> None:
    named = sum(child is not None for child in children)
    if named > 1:
        raise InvalidAccess(f"more than one resource of one {above} is named")
    if named and parent is None:
        raise Unspecified(f"the {above} of the resource is not named")
