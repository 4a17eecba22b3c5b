"""This pilotd as the third party of macaroons' caveats: who shows a key of the organisation gets the discharge.

    somebody   a token ─ a caveat of the third party at <issuer of the organisation>, with a ticket ─► of no use alone
    another    POST <location>/.well-known/macfly/3p {"ticket": …}, with a key of their own ─► a discharge, for an hour
    whoever    shows both

The key that tickets are sealed with is the organisation's, for as long as the sealing key of this pilotd is the same
one, and until somebody wants another one (`rotate`): no ticket of before is discharged from then on. A ticket says what
has to hold before it is discharged; what is not known to hold refuses it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections.abc import Callable

from ...wire import faults
from ...wire.macaroons import access, caveats, header, macaroon, packing, third_party
from ..store.tokens import Organisation
from .carried import number
from .roots import Roots

LIFE_S = 3600
_PURPOSE = b"pilot third party\0"
_BOUND = b"pilot third party keys"
_SALT_BYTES = 32


class ThirdParty:
    """Safe to use from any thread."""

    def __init__(self, roots: Roots, now_s: Callable[[], float] = time.time) -> None:
        self._roots = roots
        self._now_s = now_s
        self._lock = threading.Lock()
        self._file = roots.beside("third-party", _BOUND, dict[str, bytes])
        self._salts = self._file.read() or {}  # of organisations whose key is not their first one

    def key(self, organisation: Organisation) -> bytes:
        """What whoever makes such a caveat shares with us. Who has it can make discharges, too."""
        salt = self._salts.get(organisation.id)
        of = organisation.id.encode() + (b"" if salt is None else b"\0" + salt)
        return hmac.digest(self._roots.seal, _PURPOSE + of, hashlib.sha256)

    def rotate(self, organisation: Organisation) -> None:
        """Another key. Who had the one before can still discharge what demands it: those tokens are to be revoked."""
        with self._lock:
            salts = {**self._salts, organisation.id: os.urandom(_SALT_BYTES)}
            self._file.replace(salts)
            self._salts = salts

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
