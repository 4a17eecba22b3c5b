"""Queries and answers of DNS as values, on dnspython. Pure.

A reply is made from the question and from what was chosen of the upstream's answer; nothing else of it is passed on.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rrset

from ..addresses import Address

ADDRESSES = frozenset({dns.rdatatype.A, dns.rdatatype.AAAA})
# What names that are allowed may be asked for, besides; nothing is pinned for it.
_RECORDS = frozenset(
    {
        dns.rdatatype.CNAME, dns.rdatatype.TXT, dns.rdatatype.MX, dns.rdatatype.SRV, dns.rdatatype.NS,
        dns.rdatatype.SOA, dns.rdatatype.CAA, dns.rdatatype.PTR, dns.rdatatype.NAPTR, dns.rdatatype.DS,
        dns.rdatatype.DNSKEY, dns.rdatatype.TLSA, dns.rdatatype.SSHFP,
    }
)  # fmt: skip
# Addresses could be hidden in these (ipv4hint), and with ECH the name that is connected to.
EMPTY = frozenset({dns.rdatatype.SVCB, dns.rdatatype.HTTPS})
ANSWERED = ADDRESSES | _RECORDS | EMPTY
# What a program finds the way to a name by.
LEADING = ADDRESSES | EMPTY | {dns.rdatatype.CNAME}

TTL_S = (30, 3600)
NEGATIVE_TTL_S = (5, 300)
_UDP_BYTES = (512, 1232)


@dataclasses.dataclass(frozen=True)
class Query:
    """`name` as it is compared: lower case, no dot at the end."""

    message: dns.message.QueryMessage
    name: str
    qname: dns.name.Name
    rdtype: dns.rdatatype.RdataType

    @property
    def type_text(self) -> str:
        return dns.rdatatype.to_text(self.rdtype)

    @property
    def wants_dnssec(self) -> bool:
        return bool(self.message.ednsflags & dns.flags.DO)

    @property
    def key(self) -> tuple[str, int, bool]:
        """Of what is answered alike."""
        return self.name, int(self.rdtype), self.wants_dnssec


@dataclasses.dataclass(frozen=True)
class Found:
    """What is chosen of an upstream's answer. `hidden`: addresses that were left out, as nobody may reach them."""

    rcode: dns.rcode.Rcode
    answer: tuple[dns.rrset.RRset, ...]
    authority: tuple[dns.rrset.RRset, ...]
    addresses: tuple[Address, ...]
    hidden: tuple[Address, ...]
    ttl_s: int


def parse_query(wire: bytes) -> Query | bytes | None:
    """A query; or the answer that such a one gets at once; or None for what must not be answered at all."""
    try:
        message = dns.message.from_wire(wire, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError):
        return None
    if message.flags & dns.flags.QR:
        return None  # an answer: two resolvers could go on for ever
    if message.opcode() != dns.opcode.QUERY or not isinstance(message, dns.message.QueryMessage):
        return _failure(message, dns.rcode.NOTIMP)
    if len(message.question) != 1 or message.question[0].rdclass != dns.rdataclass.IN:
        return _failure(message, dns.rcode.FORMERR)
    qname = message.question[0].name
    return Query(message, qname.to_text(omit_final_dot=True).lower(), qname, message.question[0].rdtype)


def _failure(message: dns.message.Message, rcode: dns.rcode.Rcode) -> bytes | None:
    try:
        response = dns.message.make_response(message, recursion_available=True)
    except dns.exception.FormError:
        return None
    response.set_rcode(rcode)
    return response.to_wire()


def choose(query: Query, upstream: dns.message.Message, is_hidden: Callable[[Address], bool]) -> Found:
    """The records that answer the question: along the chain of aliases from its name, and no others."""
    names, answer = _chain(query.qname, upstream), []
    addresses: list[Address] = []
    hidden: list[Address] = []
    for rrset in upstream.answer:
        if rrset.name not in names:
            continue
        kept = _visible(rrset, is_hidden, addresses, hidden) if rrset.rdtype in ADDRESSES else rrset
        if len(kept):
            answer.append(kept)
    authority = tuple(rrset for rrset in upstream.authority if rrset.rdtype == dns.rdatatype.SOA)
    ttl_s = _clamp(min(rrset.ttl for rrset in answer), TTL_S) if answer else _negative_ttl(authority)
    return Found(upstream.rcode(), tuple(answer), authority, tuple(addresses), tuple(hidden), ttl_s)


def _chain(qname: dns.name.Name, upstream: dns.message.Message) -> set[dns.name.Name]:
    """The name and its aliases, in whatever order they were sent."""
    targets = {r.name: r[0].target for r in upstream.answer if r.rdtype == dns.rdatatype.CNAME and len(r)}
    names, name = {qname}, qname
    while name in targets and targets[name] not in names:
        name = targets[name]
        names.add(name)
    return names


def _visible(
    rrset: dns.rrset.RRset, is_hidden: Callable[[Address], bool], addresses: list[Address], hidden: list[Address]
) -> dns.rrset.RRset:
    kept = dns.rrset.RRset(rrset.name, rrset.rdclass, rrset.rdtype)
    for rdata in rrset:
        address = ipaddress.ip_address(rdata.address)
        (hidden if is_hidden(address) else addresses).append(address)
        if not is_hidden(address):
            kept.add(rdata, rrset.ttl)
    return kept


def _negative_ttl(authority: tuple[dns.rrset.RRset, ...]) -> int:
    found = [min(rrset.ttl, rdata.minimum) for rrset in authority for rdata in rrset]
    return _clamp(min(found, default=NEGATIVE_TTL_S[0]), NEGATIVE_TTL_S)


def _clamp(value: int, limits: tuple[int, int]) -> int:
    return max(limits[0], min(value, limits[1]))


def empty(rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> Found:
    """Nothing, said at once."""
    return Found(rcode, (), (), (), (), NEGATIVE_TTL_S[0])


def local(query: Query, addresses: tuple[Address, ...], *, pinned: bool = False) -> Found:
    """What we know ourselves of a name: its addresses, where they are of the kind that is asked for.

    `pinned`: they are reached through the gateway, so a policy has to let them be.
    """
    version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(query.rdtype)
    chosen = tuple(address for address in addresses if address.version == version)
    texts = [str(address) for address in chosen]
    answer = (dns.rrset.from_text_list(query.qname, TTL_S[0], "IN", query.rdtype, texts),) if texts else ()
    return Found(dns.rcode.NOERROR, answer, (), chosen if pinned else (), (), TTL_S[0])


def reply(query: Query, found: Found, ttl_s: int, *, stream: bool) -> bytes:
    """In the question's own capitals; `ttl_s` is what is left. What a datagram does not hold is cut, and says so."""
    response = dns.message.make_response(query.message, recursion_available=True)
    response.set_rcode(found.rcode)
    for source, target in ((found.answer, response.answer), (found.authority, response.authority)):
        target.extend(_aged(query, rrset, ttl_s) for rrset in source)
    return _bounded(query, response, stream)


def refuse(query: Query, reason: str, *, stream: bool, rcode: dns.rcode.Rcode = dns.rcode.REFUSED) -> bytes:
    """REFUSED; to who understands it, with the reason."""
    response = dns.message.make_response(query.message, recursion_available=True)
    response.set_rcode(rcode)
    if query.message.edns >= 0 and rcode == dns.rcode.REFUSED:
        response.use_edns(options=[dns.edns.EDEOption(dns.edns.EDECode.BLOCKED, reason)])
    return _bounded(query, response, stream)


def _aged(query: Query, rrset: dns.rrset.RRset, ttl_s: int) -> dns.rrset.RRset:
    name = query.qname if rrset.name == query.qname else rrset.name
    return dns.rrset.from_rdata_list(name, ttl_s, list(rrset))


def _bounded(query: Query, response: dns.message.Message, stream: bool) -> bytes:
    most = 65535 if stream else _clamp(query.message.payload or 0, _UDP_BYTES)
    return response.to_wire(max_size=most, prefer_truncation=True)
