"""Asks the host's own resolvers, one after the other; a truncated answer is asked for again by TCP."""

from __future__ import annotations

import os
from collections.abc import Sequence

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode

from .... import errors
from .messages import Query
from .servers import Server, parse_resolv_conf

TIMEOUT_S = 2.0
ROUNDS = 2
_PAYLOAD = 1232  # what passes everywhere without being fragmented (DNS flag day 2020)
_RESOLV_CONF = "/etc/resolv.conf"


class Unanswered(errors.PeerError):
    """No resolver gave an answer."""


class Upstream:
    """`servers` as given; without any, those of /etc/resolv.conf, as it is at that moment."""

    def __init__(self, servers: Sequence[Server] = (), resolv_conf: str = _RESOLV_CONF) -> None:
        self._given = tuple(servers)
        self._resolv_conf = resolv_conf
        self._read: tuple[float, tuple[Server, ...]] = (0.0, ())

    async def ask(self, query: Query) -> dns.message.Message:
        """`Unanswered` when nobody has said anything of use in time."""
        question = dns.message.make_query(
            query.qname, query.rdtype, use_edns=0, payload=_PAYLOAD, want_dnssec=query.wants_dnssec
        )
        problem = "there is no resolver"
        for server in self.servers() * ROUNDS:
            try:
                answer = await _exchange(question, server)
            except (OSError, dns.exception.DNSException, EOFError) as error:
                problem = f"{server.address}: {error}"
                continue
            if answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return answer
            problem = f"{server.address}: {dns.rcode.to_text(answer.rcode())}"
        raise Unanswered(f"ask for {query.name}: {problem}")

    def servers(self) -> tuple[Server, ...]:
        """Whom it asks."""
        if self._given:
            return self._given
        try:
            changed = os.stat(self._resolv_conf).st_mtime
            if changed != self._read[0]:
                with open(self._resolv_conf) as file:
                    self._read = (changed, parse_resolv_conf(file.read()))
        except OSError:
            return ()  # a host without one has no resolver to ask
        return self._read[1]


async def _exchange(question: dns.message.Message, server: Server) -> dns.message.Message:
    """dnspython takes an answer only from whom was asked, to what was asked, with the same number."""
    answer, _ = await dns.asyncquery.udp_with_fallback(
        question, server.address, TIMEOUT_S, server.port, ignore_unexpected=True
    )
    return answer
