"""What a token costs pilotd: a macaroon with ten caveats, verified anew and believed from before, on one core.

The floor is what no verification of that token can be without: its eleven HMACs, one after the other, from the same
bytes. Each sample is `_MANY` of a kind, so that the clock's own cost does not show; `per_s` is of one core.
"""

from __future__ import annotations

import asyncio
import hmac
import tempfile
import time
from collections.abc import Callable, Sequence

from pilot.host.identity.authenticator import Authenticator
from pilot.host.identity.authority import LOCATION, Authority
from pilot.host.identity.roots import Roots
from pilot.host.store import tokens
from pilot.host.store.sqlite import SqliteDatabase
from pilot.wire.macaroons import caveats, header, macaroon, own
from pilot.wire.macaroons.macaroon import Macaroon

from . import asking, harness
from .harness import Contender, Sample, Table

_MANY = 200
_FLOOR = "its HMACs alone"


def run(rounds: int) -> Sequence[Table]:
    """Tokens, and what a machine asks its host (`asking`)."""
    with tempfile.TemporaryDirectory(prefix="pilot-bench-") as directory:
        database = SqliteDatabase(f"{directory}/state.db")
        try:
            tables = [_table(Tokens(database, directory), rounds)]
        finally:
            database.close()
    return [*tables, asking.table(rounds)]


class Tokens:
    """A token of ten caveats, and those who look at it. Close the database afterwards."""

    def __init__(self, database: SqliteDatabase, directory: str) -> None:
        roots = Roots(f"{directory}/identity")
        authority = Authority(database, roots)
        self.authority, self.authenticator = authority, Authenticator(authority.authenticate)
        minted, _ = authority.mint(tokens.ensure_organisation(database, "bench"), tokens.Wanted())
        (data,) = header.parse_tokens(minted)
        self.token = macaroon.decode(data).attenuate(*_caveats())
        assert len(self.token.caveats) == 10, self.token.caveats
        self.shown = header.write([self.token])
        self.bytes = self.token.encode()
        self.key = roots.newest().key
        assert authority.authenticate(self.shown) is not None
        assert header.parse(self.shown, LOCATION).permissions == (self.token,)


def _caveats() -> Sequence[caveats.Caveat]:
    """Nine beside the organisation's."""
    windows = [caveats.ValidityWindow(1, 1 << 32 | number) for number in range(5)]
    others = (own.Permissions(["exec", "self"]), own.Sprites(["5a"]), caveats.ActionMask(31), caveats.Apps({1: 31}))
    return (*windows, *others)


def _table(made: Tokens, rounds: int) -> Table:
    contenders = [
        Contender(_FLOOR, lambda: _sample(lambda: _chain(made.token, made.key))),
        Contender("the token alone: read, verified", lambda: _sample(lambda: _verify(made))),
        Contender("cold: read, verified, its row asked of the store", lambda: _sample(lambda: _cold(made))),
        Contender("warm: believed from before", lambda: asyncio.run(_warm(made))),
    ]
    samples = harness.interleave(contenders, rounds, 2)
    return harness.make_table("a macaroon of ten caveats, on one core", samples, [_FLOOR], "us")


def _sample(work: Callable[[], object]) -> Sample:
    begin = time.perf_counter()
    for _ in range(_MANY):
        work()
    return _of(time.perf_counter() - begin)


def _of(seconds: float) -> Sample:
    return {"us": seconds / _MANY * 1e6, "per_s": _MANY / seconds}


def _chain(token: Macaroon, key: bytes) -> None:
    tail = hmac.digest(key, token.nonce.pack(), "sha256")
    for caveat in token.caveats:
        tail = hmac.digest(tail, caveat.link, "sha256")
    assert hmac.compare_digest(tail, token.tail)


def _verify(made: Tokens) -> None:
    macaroon.verify(macaroon.decode(made.bytes), made.key)


def _cold(made: Tokens) -> None:
    assert made.authority.authenticate(made.shown) is not None


async def _warm(made: Tokens) -> Sample:
    await made.authenticator.authenticate(made.shown)
    begin = time.perf_counter()
    for _ in range(_MANY):
        assert await made.authenticator.authenticate(made.shown) is not None
    return _of(time.perf_counter() - begin)
