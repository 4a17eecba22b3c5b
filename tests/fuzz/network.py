"""What machines ask of the resolver, what resolvers answer, and policies."""

from __future__ import annotations

import dns.exception
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import msgspec

from pilot import errors
from pilot.host.network import policy
from pilot.host.network.resolver import messages
from tests.fuzz.target import Form, Target

_ASKED = dns.message.make_query("www.example.com.", "A", use_edns=True)


def _question(data: bytes) -> None:
    """Whatever it is, there is an answer that can be read, or none; never more than a datagram holds."""
    found = messages.parse_query(data)
    if isinstance(found, messages.Query):
        found = messages.refuse(found, "not allowed", stream=False)
        assert len(found) <= 1232
    if isinstance(found, bytes):
        dns.message.from_wire(found)


def _upstream(data: bytes) -> None:
    """Of an upstream's answer only what answers the question is passed on."""
    query = messages.parse_query(_ASKED.to_wire())
    assert isinstance(query, messages.Query)
    try:
        said = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        return
    found = messages.choose(query, said, lambda address: address.is_private)
    assert not any(address.is_private for address in found.addresses)
    answer = messages.reply(query, found, 30, stream=False)
    assert len(answer) <= 1232
    dns.message.from_wire(answer)


def _policy(data: bytes) -> None:
    try:
        document = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return
    found = policy.parse(document)
    policy.effective(found, policy.Egress.POLICY, ())


def _answered() -> bytes:
    answer = dns.message.make_response(_ASKED)
    answer.answer = [
        dns.rrset.from_text("www.example.com.", 60, "IN", "CNAME", "x.example.com."),
        dns.rrset.from_text("x.example.com.", 60, "IN", "A", "192.0.2.1", "10.0.0.1"),
    ]
    answer.authority = [dns.rrset.from_text("example.com.", 60, "IN", "SOA", "a. b. 1 2 3 4 5")]
    return answer.to_wire()


_QUERY = b"\0\1" + _ASKED.to_wire()[2:]
_RULES = b'{"rules": [{"domain": "*.example.com", "action": "allow"}, {"include": "defaults"}]}'
TARGETS = {
    "dns-question": Target(_question, (), (_QUERY, dns.message.make_query("a.b.", "TXT", id=1).to_wire())),
    "dns-answer": Target(_upstream, (), (b"\0\1" + _answered()[2:],)),
    "network-policy": Target(_policy, (errors.PilotError,), (_RULES,), form=Form.JSON),
}
