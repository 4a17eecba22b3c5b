"""Tokens of machines for themselves: macaroons that are locked to one machine, minted when its agent asks for one.

A token has no row of its own, and is none of those that `authority` knows: it is minted with a key that is derived from
a root for this alone. It ends soon; the agent of a machine that is there gets another one. It is of use only with a
request that comes by the machine's own socket: at any other place it opens nothing.
"""

from __future__ import annotations

import dataclasses
import hmac
import time
from collections.abc import Callable

from ...wire import faults
from ...wire.macaroons import caveats, header, macaroon, own, packing
from ...wire.macaroons.access import Action, Refused
from ...wire.macaroons.caveats import Caveat
from .authority import LOCATION
from .carried import number
from .roots import Roots

LIFE_S = 3600
# For a host whose clock was set back a little.
_EARLY_S = 60
_PURPOSE = b"pilot machine tokens"
_KIND = b"/machine"


@dataclasses.dataclass(frozen=True)
class Holder:
    """A machine: whose, and of which app or sprite, by their ids."""

    machine: str
    organisation: str
    app: str | None = None
    sprite: str | None = None


@dataclasses.dataclass(frozen=True)
class Minted:
    """Times are in seconds since 1970."""

    token: str
    issued_s: int
    expires_s: int


class MachineTokens:
    """Safe to use from any thread."""

    def __init__(self, roots: Roots, now_s: Callable[[], float] = time.time) -> None:
        self._roots = roots
        self.now_s = now_s

    def mint(self, holder: Holder) -> Minted:
        root, now_s = self._roots.newest(), int(self.now_s())
        window = caveats.ValidityWindow(now_s - _EARLY_S, now_s + LIFE_S)
        token = macaroon.mint(_key(root.key), root.id + _KIND, LOCATION, *_caveats(holder), window)
        return Minted(header.write([token]), now_s, now_s + LIFE_S)

    def require(self, shown: str, asked: own.HostAccess) -> None:
        """It is one of ours, and permits that. `Unauthenticated`, `PermissionDenied`."""
        try:
            asked.check()
            for caveat in self._verified(shown):
                caveat.prohibits(asked)
        except Refused as error:
            raise faults.PermissionDenied(f"this machine may not do that: {error}") from error

    def _verified(self, shown: str) -> tuple[Caveat, ...]:
        try:
            bundle = header.parse(shown, LOCATION)
            (token,) = bundle.permissions
            root = self._root(token.nonce.key_id)
            if root is not None and not token.is_proof:
                return macaroon.verify(token, _key(root), bundle.others)
        except (macaroon.Invalid, packing.Malformed, ValueError):
            pass  # one reason for whatever is none
        raise faults.Unauthenticated("no token of a machine")

    def _root(self, key_id: bytes) -> bytes | None:
        return self._roots.find(key_id.removesuffix(_KIND)) if key_id.endswith(_KIND) else None


def _key(root: bytes) -> bytes:
    return hmac.digest(root, _PURPOSE, "sha256")


def _caveats(holder: Holder) -> list[Caveat]:
    found: list[Caveat] = [
        caveats.FromMachineSource(holder.machine),
        caveats.Organization(number(holder.organisation), int(Action.ALL)),
    ]
    if holder.app is not None:
        found.append(caveats.Apps({number(holder.app): int(Action.ALL)}))
        found.append(caveats.Machines({holder.machine: int(Action.ALL)}))
    if holder.sprite is not None:
        found.append(own.Sprites([holder.sprite]))
    return found
