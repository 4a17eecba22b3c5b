"""What is shown with a request → whose it is; and what is open by whose key, to be cut off when that is revoked.

    shown ─► known, for CACHE_S at most? ─► Principal
                 └ no: `ask` (reads the store, in a thread) ─┘      holding ─► open by key ─► cut by `revoked`

Everything here belongs to one event loop, but `uses`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator

from ...wire import faults
from .authority import is_macaroon
from .principal import Principal

# How long a token is believed without asking the store. Revoked by us, it is believed no more at once.
CACHE_S = 5.0
MAX_CACHED = 4096
# asyncio's own limit is beyond this; who holds on for longer is looked at again.
_LONGEST_S = 86400.0
_SCHEMES = frozenset({"bearer", "flyv1"})
Ask = Callable[[str], Principal | None]


def could_be_token(text: str) -> bool:
    """Whether it has the form of a key or a macaroon: what has not, nobody need be asked about."""
    return text.count("/") == 3 or is_macaroon(text)


def presented(authorization: bytes | None) -> str | None:
    """What an Authorization header shows: `Bearer …`, or `FlyV1 …` as Fly's clients say it."""
    scheme, _, shown = (authorization or b"").decode("latin-1").partition(" ")
    return shown.strip() if scheme.lower() in _SCHEMES else None


@dataclasses.dataclass(frozen=True, eq=False)
class _Open:
    cut: Callable[[], object]
    task: asyncio.Task[object] | None


class Authenticator:
    """`ask` maps a token to its principal. Tokens are kept as digests, so that a dump of our memory names none."""

    def __init__(
        self, ask: Ask, clock: Callable[[], float] = time.monotonic, now_s: Callable[[], float] = time.time
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._now_s = now_s
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._open: dict[str, set[_Open]] = {}
        self._revoked: set[str] = set()  # since we began: as many as somebody revoked
        self._uses_us: dict[str, int] = {}

    def forget(self) -> None:
        """Every token is asked for again."""
        self._known.clear()

    def uses(self) -> dict[str, int]:
        """When each key was used last, in microseconds, since we began. On any thread."""
        return self._uses_us.copy()

    async def authenticate(self, token: str) -> Principal | None:
        """Whose token it is; None for any text that is not a valid token."""
        digest = hashlib.sha256(token.encode()).digest()
        known, until_s = self._known.get(digest, (None, 0.0))
        if known is None or self._clock() >= until_s:
            known = await asyncio.to_thread(self._ask, token)
            self._remember(digest, known)
        if known is None or not self._is_valid(known):
            return None
        if known.key is not None:
            self._uses_us[known.key] = int(self._now_s() * 1e6)
        return known

    def _remember(self, digest: bytes, found: Principal | None) -> None:
        self._known.pop(digest, None)
        if found is None:
            return
        while len(self._known) >= MAX_CACHED:
            del self._known[next(iter(self._known))]  # the one that was asked for longest ago
        self._known[digest] = (found, self._clock() + CACHE_S)

    def _is_valid(self, found: Principal) -> bool:
        """Also of one that was read before it was revoked."""
        return found.key not in self._revoked and self._left_s(found) > 0

    def _left_s(self, found: Principal) -> float:
        return float("inf") if found.expires_us is None else found.expires_us / 1e6 - self._now_s()

    @contextlib.contextmanager
    def holding(self, principal: Principal, cut: Callable[[], object]) -> Iterator[None]:
        """For as long as something is open by its key: `cut` breaks it off, when the key is revoked or has expired.

        `Unauthenticated` when it was revoked since it was asked about.
        """
        if principal.key is None:
            yield
            return
        if not self._is_valid(principal):
            raise faults.Unauthenticated("authentication failed")
        held = _Open(cut, asyncio.current_task())
        self._open.setdefault(principal.key, set()).add(held)
        ending = _Ending(lambda: self._left_s(principal), cut)
        try:
            yield
        finally:
            ending.cancel()
            left = self._open[principal.key]
            left.discard(held)
            if not left:
                del self._open[principal.key]

    async def revoke(self, commit: Callable[[], str]) -> None:
        """`commit`, in a thread, writes down that a key is revoked, and says which: then it is, here too.

        The two are never parted: who asks for this and goes in between only misses the answer.
        """
        await asyncio.shield(asyncio.create_task(self._revoke(commit, asyncio.current_task())))

    async def _revoke(self, commit: Callable[[], str], asking: asyncio.Task[object] | None) -> None:
        self.revoked(await asyncio.to_thread(commit), asking)

    def revoked(self, key: str, asking: asyncio.Task[object] | None = None) -> None:
        """It opens nothing more, and what it has opened is cut off; but not whoever asks for this, who is answered."""
        self._revoked.add(key)
        for held in list(self._open.get(key, ())):
            if held.task is not asking:
                held.cut()


class _Ending:
    """`cut`, when nothing is left: a key lasts as long as the clock on the wall says, also when that is set."""

    def __init__(self, left_s: Callable[[], float], cut: Callable[[], object]) -> None:
        self._left_s = left_s
        self._cut = cut
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def _look(self) -> None:
        left_s = self._left_s()
        if left_s <= 0:
            self._cut()
        elif left_s != float("inf"):
            self._timer = asyncio.get_running_loop().call_later(min(left_s, _LONGEST_S), self._look)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
