"""Where the real host is: asked of the host's own resolvers, as for machines. Addresses that no machine may reach are
left out, and what connects does so from inside of the machine's gateway, where the kernel refuses them once more."""

from __future__ import annotations

import time
from collections.abc import Callable

import dns.message

from .... import errors
from ..addresses import Address
from ..never import Never
from ..resolver import messages
from ..resolver.messages import Query
from ..resolver.upstream import Upstream

_KINDS = ("A", "AAAA")


class Names:
    """Answers are kept for as long as they hold; of how many hosts is bounded by how many connectors there are."""

    def __init__(self, upstream: Upstream, never: Never, clock: Callable[[], float] = time.monotonic) -> None:
        self._upstream = upstream
        self._never = never
        self._clock = clock
        self._known: dict[str, tuple[tuple[Address, ...], float]] = {}

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """Where it can be reached. `PeerError` when nobody knows, or it is nowhere that a machine may go."""
        known, until = self._known.get(host, ((), 0.0))
        if known and self._clock() < until:
            return known
        self._known = {name: each for name, each in self._known.items() if self._clock() < each[1]}
        found: list[Address] = []
        holds_s: list[int] = []
        for kind in _KINDS:
            query = _query(host, kind)
            chosen = messages.choose(query, await self._upstream.ask(query), lambda address: address in self._never)
            found += chosen.addresses
            holds_s += [chosen.ttl_s] if chosen.addresses else []
        if not found:
            raise errors.PeerError(f"reach {host}: it leads nowhere")
        self._known[host] = tuple(found), self._clock() + min(holds_s)
        return tuple(found)


def _query(host: str, kind: str) -> Query:
    query = messages.parse_query(dns.message.make_query(host, kind).to_wire())
    assert isinstance(query, Query)  # our own
    return query
