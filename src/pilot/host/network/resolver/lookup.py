"""From a query's bytes to an answer's, for one machine.

    rate? ─ policy ─ ours? ─ cache, or upstream (once for all that ask at the same time) ─ policy again ─ pin ─ answer

Policy is asked again after waiting: it may have changed meanwhile. From there to the answer nothing waits, so what is
pinned and answered is what the policy of that moment allows.
"""

from __future__ import annotations

import asyncio
import collections
import ipaddress
import time
from collections.abc import Callable

import dns.rcode

from .... import errors
from ..addresses import Address
from ..never import Never
from ..policy import Action, Decision, Effective
from ..zone import INTERNAL, Zone
from . import messages
from .log import Log, Outcome
from .messages import Found, Query
from .pins import Pins
from .upstream import Upstream

MOST_CACHED = 1024
MOST_WAITING = 256
# What programs of Machines bind to that serve datagrams, as upstream has it: here they come to the loopback.
_GLOBAL_SERVICES = "fly-global-services"


class Bucket:
    """`rate` in a second, twice that at once."""

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._full_at = 0.0

    def take(self) -> bool:
        """Whether there was one left."""
        now = self._clock()
        start = max(self._full_at, now)
        if start - now > 2:
            return False
        self._full_at = start + 1 / self._rate
        return True


class Lookup:
    """`zone` may be replaced (`adopt`) at any time; everything else is the machine's for good."""

    def __init__(
        self,
        zone: Zone,
        pins: Pins,
        log: Log,
        upstream: Upstream,
        never: Never,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = log
        self._pins = pins
        self._upstream = upstream
        self._never = never
        self._clock = clock
        self._cache: collections.OrderedDict[tuple[str, int, bool], tuple[Found, float]] = collections.OrderedDict()
        self._asking: dict[tuple[str, int, bool], asyncio.Task[Found]] = {}
        self._adopt(zone)

    def adopt(self, zone: Zone) -> None:
        """This zone's rules are in force when it returns."""
        effective = zone.effective()
        self._pins.enforce(zone.mark, effective.rules is None, lambda name: _allows(effective, name))
        self._adopt(zone)

    def _adopt(self, zone: Zone) -> None:
        self._zone = zone
        self._effective = zone.effective()
        self._bucket = Bucket(zone.queries_per_s, self._clock)

    async def answer(self, wire: bytes, *, stream: bool) -> bytes | None:
        """None: it is not worth an answer, or may not have one."""
        if not self._bucket.take() or len(self._asking) > MOST_WAITING:
            self.log.count(Outcome.LIMITED)
            return None
        query = messages.parse_query(wire)
        if not isinstance(query, Query):
            return query
        decision = self._decide(query)
        if decision.action is Action.DENY:
            return self._refuse(query, decision, stream)
        if (known := self._known(query)) is not None:
            if known.addresses:
                return self._settle(query, known, known.ttl_s, stream)
            return messages.reply(query, known, known.ttl_s, stream=stream)
        try:
            found, ttl_s = await self._find(query)
        except errors.PeerError:
            self.log.add(Outcome.UNANSWERED, query.name, query.type_text)
            return messages.refuse(query, "", stream=stream, rcode=dns.rcode.SERVFAIL)
        return self._settle(query, found, ttl_s, stream)

    def _settle(self, query: Query, found: Found, ttl_s: int, stream: bool) -> bytes:
        """Without waiting for anything."""
        decision = self._decide(query)
        if decision.action is Action.DENY:
            return self._refuse(query, decision, stream)
        try:
            self._pins.add(query.name, found.addresses, ttl_s)
        except (errors.HostError, OSError):
            # Not pinned, so not answered: the program would find the address closed.
            self.log.add(Outcome.UNANSWERED, query.name, query.type_text, decision.rule, found.addresses)
            return messages.refuse(query, "", stream=stream, rcode=dns.rcode.SERVFAIL)
        if found.hidden:
            self.log.add(Outcome.HIDDEN, query.name, query.type_text, decision.rule, found.hidden)
        else:
            self.log.add(Outcome.ALLOW, query.name, query.type_text, decision.rule, found.addresses)
        return messages.reply(query, found, ttl_s, stream=stream)

    def _decide(self, query: Query) -> Decision:
        if _is_ours(query.name) and query.name not in self._zone.internal:
            return Decision(Action.ALLOW, None)  # nobody else is asked, and nothing is reached by it
        decision = self._effective.decide(query.name)
        if self._effective.rules is not None and query.rdtype not in messages.ANSWERED:
            return Decision(Action.DENY, decision.rule)
        return decision

    def _refuse(self, query: Query, decision: Decision, stream: bool) -> bytes:
        self.log.add(Outcome.DENY, query.name, query.type_text, decision.rule)
        reason = f"network policy: {decision.rule or 'no rule'}"
        return messages.refuse(query, reason, stream=stream)

    def _known(self, query: Query) -> Found | None:
        """What is answered without asking anybody."""
        if _is_below(query.name, INTERNAL):
            texts = self._zone.internal.get(query.name)
            if texts is None:
                return messages.empty(dns.rcode.NXDOMAIN)
            return messages.local(query, tuple(ipaddress.ip_address(text) for text in texts), pinned=True)
        if _is_below(query.name, "localhost"):
            return messages.local(query, (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")))
        if query.name == _GLOBAL_SERVICES:
            return messages.local(query, (ipaddress.ip_address("127.0.0.1"),))
        if query.name in self._zone.connected and query.rdtype in messages.LEADING:
            return messages.local(query, tuple(ipaddress.ip_address(text) for text in self._zone.listen))
        if self._effective.rules is not None and query.rdtype in messages.EMPTY:
            return messages.empty()
        return None

    async def _find(self, query: Query) -> tuple[Found, int]:
        """With the seconds that it still holds."""
        cached = self._cache.get(query.key)
        if cached is not None and cached[1] - self._clock() >= 1:
            self._cache.move_to_end(query.key)
            return cached[0], int(cached[1] - self._clock())
        task = self._asking.get(query.key)
        if task is None:
            task = asyncio.create_task(self._ask(query), name=f"resolve {query.name}")
            self._asking[query.key] = task
            task.add_done_callback(lambda _: self._asking.pop(query.key, None))
        found = await asyncio.shield(task)
        return found, found.ttl_s

    async def _ask(self, query: Query) -> Found:
        found = messages.choose(query, await self._upstream.ask(query), self._is_hidden)
        self._cache[query.key] = (found, self._clock() + found.ttl_s)
        while len(self._cache) > MOST_CACHED:
            self._cache.popitem(last=False)
        return found

    def _is_hidden(self, address: Address) -> bool:
        return address in self._never


def _allows(effective: Effective, name: str) -> bool:
    return effective.decide(name).action is Action.ALLOW


def _is_ours(name: str) -> bool:
    return _is_below(name, INTERNAL) or _is_below(name, "localhost") or name == _GLOBAL_SERVICES


def _is_below(name: str, top: str) -> bool:
    return name == top or name.endswith("." + top)
