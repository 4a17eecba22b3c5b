"""The one engine behind all that is shown: plain keys, macaroons, and the cookies that hold either.

    organisation/id/key/secret      a row of the store, by the secret's digest      ─┐
    fm2_…[,fm2_…]                   a root key, the chain, discharges; then its row ─┴► Principal

Each macaroon that was minted has a row as a plain key has, under the name that all that is made of it share
(`Nonce.uuid`): what is revoked there opens nothing, however it was attenuated.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from ...wire.macaroons import caveats, header, macaroon, own, packing
from ...wire.macaroons.access import Action
from ...wire.macaroons.caveats import Caveat
from ...wire.macaroons.macaroon import Macaroon
from ...wire.permissions import ROLES, Role
from ..store import tokens
from ..store.database import Database
from ..store.tokens import Kind, Known, Organisation, Wanted
from . import carried, principal
from .principal import Principal
from .roots import Roots
from .third_party import ThirdParty

# Fly's clients drop tokens of any other location before they ask with them.
LOCATION = "https://api.fly.io/v1"
_BEGINS = ("fm2_", "fm1r_", "fm1a_")


def is_macaroon(shown: str) -> bool:
    """Whether it has the form of one, or of several."""
    return header.strip_scheme(shown).startswith(_BEGINS)


@dataclasses.dataclass(frozen=True)
class Verified:
    """A macaroon of ours that holds, and what a request has to meet."""

    macaroon: Macaroon
    caveats: tuple[Caveat, ...]
    known: Known

    @property
    def expires_us(self) -> int | None:
        """When it ends, by its row or by a caveat: of use to nobody after the earliest."""
        ends = [each.not_after * 1_000_000 for each in self.caveats if isinstance(each, caveats.ValidityWindow)]
        if self.known.token.wanted.expires_us is not None:
            ends.append(self.known.token.wanted.expires_us)
        return min(ends, default=None)


class Authority:
    """Safe to use from any thread; it reads the store, so it may block."""

    def __init__(self, database: Database, roots: Roots, now_s: Callable[[], float] = time.time) -> None:
        self._database = database
        self._roots = roots
        self._now_s = now_s
        self.third_party = ThirdParty(roots, now_s)

    def authenticate(self, shown: str) -> Principal | None:
        """Whose it is; None for any text that opens nothing."""
        if not is_macaroon(shown):
            known = tokens.authenticate(self._database, shown)
            return None if known is None else principal.of_key(known)
        found = self.verify(shown)
        if found is None:
            return None
        base = principal.of_key(found.known)
        left = carried.Carried(found.caveats, found.known.organisation, self._now_s)
        return dataclasses.replace(base, caveats=(*base.caveats, left), expires_us=found.expires_us)

    def verify(self, shown: str) -> Verified | None:
        """The one macaroon of ours among those that are shown, with its discharges. None: it does not hold."""
        try:
            bundle = header.parse(shown, LOCATION)
        except packing.Malformed:
            return None
        if len(bundle.permissions) != 1:
            return None  # of two, each could be the one that counts
        token = bundle.permissions[0]
        key = self._roots.find(token.nonce.key_id)
        if key is None or token.is_proof:
            return None
        try:
            left = macaroon.verify(token, key, bundle.others)
        except (macaroon.Invalid, packing.Malformed):
            return None
        known = tokens.by_id(self._database, token.nonce.uuid.hex)
        return None if known is None else Verified(token, left, known)

    def mint(self, organisation: Organisation, wanted: Wanted) -> tuple[str, str]:
        """A macaroon and its id. `Conflict` for a name that another one has."""
        root = self._roots.newest()
        token = macaroon.mint(root.key, root.id, LOCATION, *self._caveats(organisation, wanted))
        id = token.nonce.uuid.hex
        tokens.record(self._database, organisation, wanted, id)
        return header.write([token]).removeprefix(f"{header.SCHEME} "), id

    def _caveats(self, organisation: Organisation, wanted: Wanted) -> list[Caveat]:
        """What the row says, so that whoever holds the token can read it, too."""
        found: list[Caveat] = [caveats.Organization(carried.number(organisation.id), int(Action.ALL))]
        if wanted.role is not Role.ADMIN:
            found.append(own.Permissions(sorted(permission.value for permission in ROLES[wanted.role])))
        if wanted.scope.kind is Kind.APP and wanted.scope.id:
            found.append(caveats.Apps({carried.number(wanted.scope.id): int(Action.ALL)}))
        if wanted.scope.kind is Kind.SPRITE and wanted.scope.id:
            found.append(own.Sprites([wanted.scope.id]))
        if wanted.expires_us is not None:
            found.append(caveats.ValidityWindow(int(self._now_s()), wanted.expires_us // 1_000_000))
        return found
