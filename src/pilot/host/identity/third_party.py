"""This pilotd as the third party of macaroons' caveats: who shows a key of the organisation gets the discharge.

    somebody   a token ─ a caveat of the third party at <issuer of the organisation>, with a ticket ─► of no use alone
    another    POST <location>/.well-known/macfly/3p {"ticket": …}, with a key of their own ─► a discharge, for an hour
    whoever    shows both

The key that tickets are sealed with is the organisation's, for as long as the sealing key of this pilotd is the same
one. A ticket says what has to hold before it is discharged; what is not known to hold refuses it.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

from ...wire import faults
from ...wire.macaroons import access, caveats, header, macaroon, packing, third_party
from ..store.tokens import Organisation
from .carried import number
from .roots import Roots

LIFE_S = 3600
_PURPOSE = b"pilot third party\0"


class ThirdParty:
    """Safe to use from any thread."""

    def __init__(self, roots: Roots, now_s: Callable[[], float] = time.time) -> None:
        self._roots = roots
        self._now_s = now_s

    def key(self, organisation: Organisation) -> bytes:
        """What whoever makes such a caveat shares with us. Who has it can make discharges, too."""
        return hmac.digest(self._roots.seal, _PURPOSE + organisation.id.encode(), hashlib.sha256)

    def discharge(self, organisation: Organisation, location: str, ticket: bytes) -> str:
        """A discharge, as a header has it. `InvalidRequest` for a ticket that is none of the organisation's;
        `PermissionDenied` for what it demands and is not so."""
        key = self.key(organisation)
        try:
            demands = [packed.meaning for packed in third_party.open_ticket(key, ticket).caveats]
        except packing.Malformed as error:
            raise faults.InvalidRequest("ticket: none of this organisation's") from error
        now_s = int(self._now_s())
        expires_s = now_s + min([LIFE_S, *(each.seconds for each in demands if isinstance(each, caveats.MaxValidity))])
        asked = access.DischargeRequest(now_s, expires_s, organisations=frozenset({number(organisation.id)}))
        try:
            for demand in demands:
                demand.prohibits(asked)
        except access.Refused as error:
            raise faults.PermissionDenied(f"ticket: {error}") from error
        proof = macaroon.discharge(key, location, ticket, caveats.ValidityWindow(now_s, expires_s))
        return header.write([proof]).removeprefix(f"{header.SCHEME} ")
