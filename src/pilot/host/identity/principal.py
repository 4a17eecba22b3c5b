"""A principal is an organisation, and caveats: each takes something away from what its token may do, none adds."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Callable
from typing import Protocol

from ...wire import faults
from ...wire.permissions import GRANTABLE, Permission
from ..store.tokens import Organisation

# How long a token is believed without asking the store, and so how long one that is revoked may still be used.
CACHE_S = 5.0
MAX_CACHED = 4096


class Caveat(Protocol):
    """One restriction."""

    def permits(self, permission: Permission) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Only:
    """Nothing but these permissions."""

    permissions: frozenset[Permission]

    def permits(self, permission: Permission) -> bool:
        return permission in self.permissions


@dataclasses.dataclass(frozen=True)
class Principal:
    """Without caveats: whatever its organisation may."""

    organisation: Organisation
    caveats: tuple[Caveat, ...] = ()

    def may(self, permission: Permission) -> bool:
        """What is pilotd's own no principal may."""
        return permission in GRANTABLE and all(caveat.permits(permission) for caveat in self.caveats)

    def require(self, permission: Permission) -> None:
        """`PermissionDenied` when it may not."""
        if not self.may(permission):
            raise faults.PermissionDenied(f"this token may not do that ({permission.value})")


def could_be_token(text: str) -> bool:
    """Whether it has the form of a token (`store.tokens`): what has not, nobody need be asked about."""
    return text.count("/") == 3


class Authenticator:
    """`ask` maps a token to its principal; it reads the store, so it is asked in a thread, and believed for CACHE_S.

    For one event loop. Tokens are kept as digests, so that a dump of our memory names none.
    """

    def __init__(self, ask: Callable[[str], Principal | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[bytes, tuple[Principal, float]] = {}

    def forget(self) -> None:
        """Every token is asked for again."""
        self._known.clear()

    async def authenticate(self, token: str) -> Principal | None:
        """Whose token it is; None for any text that is not a valid token."""
        key = hashlib.sha256(token.encode()).digest()
        known, until_s = self._known.get(key, (None, 0.0))
        if known is not None and self._clock() < until_s:
            return known
        found = await asyncio.to_thread(self._ask, token)
        self._known.pop(key, None)
        if found is not None:
            while len(self._known) >= MAX_CACHED:
                del self._known[next(iter(self._known))]  # the one that was asked for longest ago
            self._known[key] = (found, self._clock() + CACHE_S)
        return found
