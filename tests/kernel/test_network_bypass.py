"""Ways around a network policy, as somebody would try them from inside; docs/reference/network-policy.md lists them."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import struct

import dns.flags
import dns.message
import dns.rcode
import pytest
from tests.support import internet as nets
from tests.support.internet import METADATA, OTHER, PORT, PRIVATE, WEB, WEB6, Internet, wait_until
from tests.support.netsprite import TAG, Sprite, internet, networks, sprite

from pilot.host.network import apply
from pilot.host.network.plan import Settings
from pilot.host.network.resolver.pins import Pins
from pilot.host.network.service import Networks
from pilot.kernel import netns, nftables

__all__ = ["internet", "networks", "sprite"]  # fixtures

pytestmark = pytest.mark.requires("root", "private", "veth", "nft")

GONE_S = 1.0  # for what is dropped without a word


def counter(sprite: Sprite, name: str) -> int:
    return sprite.networks.report(sprite.member.machine).packets[name]


def questions(sprite: Sprite, decision: str) -> int:
    return sprite.networks.report(sprite.member.machine).questions.get(decision, 0)


# ---- addresses instead of names -------------------------------------------------------------------------------------


def test_a_bare_address_is_refused_at_once(sprite: Sprite) -> None:
    sprite.obey("web.test")
    for port in (80, 443, 853, PORT):
        with pytest.raises(ConnectionRefusedError):
            sprite.machine.connect(OTHER, port)
    assert sprite.machine.exchange(OTHER, b"quic", 443) is None
    report = sprite.networks.report(sprite.member.machine)
    assert {(refusal.address, refusal.protocol, refusal.port) for refusal in report.refused} >= {
        (OTHER, "tcp", 443),
        (OTHER, "tcp", 853),
        (OTHER, "udp", 443),
    }


def test_another_resolver_is_ours(internet: Internet, sprite: Sprite) -> None:
    """Whoever is asked on port 53, by datagram or stream, the answer is by the policy."""
    sprite.obey("web.test")
    for server in ("8.8.8.8", OTHER, "2001:4860:4860::8888"):
        assert sprite.machine.ask("other.test", server=server).rcode() == dns.rcode.REFUSED
        assert sprite.machine.ask("other.test", server=server, stream=True).rcode() == dns.rcode.REFUSED
        assert sprite.machine.ask("web.test", server=server).rcode() == dns.rcode.NOERROR


def test_a_resolv_conf_of_ones_own_changes_nothing(internet: Internet, sprite: Sprite) -> None:
    """The upstream itself, which the host may ask, answers no machine."""
    sprite.obey("web.test")
    internet.asked.clear()
    assert sprite.machine.ask("other.test", server=nets.DNS).rcode() == dns.rcode.REFUSED
    assert internet.asked == []


# ---- names ----------------------------------------------------------------------------------------------------------


def test_tunnelling_below_a_denied_name_reaches_nobody(internet: Internet, sprite: Sprite) -> None:
    sprite.obey("web.test")
    internet.asked.clear()
    before = questions(sprite, "deny")
    for number in range(20):
        assert sprite.machine.ask(f"{'a' * 50}{number}.evil.test", "TXT").rcode() == dns.rcode.REFUSED
    assert internet.asked == []
    assert questions(sprite, "deny") - before == 20


def test_tunnelling_below_an_allowed_wildcard_is_slow_and_written_down(internet: Internet, sprite: Sprite) -> None:
    sprite.obey("*.wild.test")
    query = [dns.message.make_query(f"n{number}.wild.test", "TXT").to_wire() for number in range(400)]
    with sprite.machine.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect(("198.18.0.1", 53))
        before = _limited(sprite)

        def limited() -> bool:
            sprite.machine.send_each(datagrams, query)
            return _limited(sprite) > before

        wait_until(limited, "queries over the rate are dropped")
    report = sprite.networks.report(sprite.member.machine)
    assert any(b"wild.test" in bytes(line) for line in report.decisions)


def _limited(sprite: Sprite) -> int:
    return questions(sprite, "limited") + counter(sprite, "limited")


def test_https_records_lead_nowhere(internet: Internet, sprite: Sprite) -> None:
    internet.records["web.test", "HTTPS"] = (60, [f"1 . ipv4hint={OTHER}"])
    sprite.obey("web.test")
    answer = sprite.machine.ask("web.test", "HTTPS")
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])
    assert not sprite.machine.reaches(OTHER)


def test_other_kinds_of_records_are_refused(sprite: Sprite) -> None:
    sprite.obey("web.test")
    for kind in ("ANY", "NULL", "AXFR"):
        assert sprite.machine.ask("web.test", kind, stream=kind == "AXFR").rcode() == dns.rcode.REFUSED


def test_the_name_in_a_handshake_opens_nothing(sprite: Sprite) -> None:
    """SNI and Host are the client's to choose: only the address counts, and it has to be one of an allowed name."""
    sprite.obey("web.test")
    assert sprite.machine.addresses("web.test") == [WEB]
    with pytest.raises(ConnectionRefusedError):
        sprite.machine.connect(OTHER, 443)


def test_an_address_in_the_answers_additional_part_is_not_pinned(internet: Internet, sprite: Sprite) -> None:
    """Nor one that belongs to another name than the chain from the question leads to."""
    internet.records["alias.test", "CNAME"] = (60, ["web.test."])
    sprite.obey("alias.test")
    assert sprite.machine.addresses("alias.test") == [WEB]
    assert sprite.machine.reaches(WEB)
    assert sprite.machine.ask("web.test").rcode() == dns.rcode.REFUSED


def test_capitals_a_dot_and_search_lists_make_no_difference(internet: Internet, sprite: Sprite) -> None:
    sprite.obey("web.test")
    assert sprite.machine.addresses("WeB.tEsT.") == [WEB]
    answer = sprite.machine.ask("wEb.TeSt")
    assert answer.answer[0].name.to_text() == "wEb.TeSt.", "the case of the question comes back (0x20)"
    assert sprite.machine.ask("web.test.corp.example").rcode() == dns.rcode.REFUSED


def test_an_explicit_deny_of_everything_denies_everything(internet: Internet, sprite: Sprite) -> None:
    sprite.obey(("*", "deny"))
    internet.asked.clear()
    assert sprite.machine.ask("web.test").rcode() == dns.rcode.REFUSED
    assert internet.asked == []
    assert not sprite.machine.reaches(WEB)
    assert not sprite.machine.reaches(WEB6)


def test_an_exact_rule_beats_a_wildcard_beats_everything(internet: Internet, sprite: Sprite) -> None:
    internet.records |= {(f"{name}.rank.test", "A"): (60, [WEB]) for name in ("a", "b", "x.b")}
    sprite.obey("*", ("*.rank.test", "deny"), "a.rank.test", "*.b.rank.test")
    assert sprite.machine.addresses("a.rank.test") == [WEB]
    assert sprite.machine.ask("b.rank.test").rcode() == dns.rcode.REFUSED
    assert sprite.machine.addresses("x.b.rank.test") == [WEB]
    assert sprite.machine.addresses("web.test") == [WEB]


# ---- where names lead -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [True, False])
def test_rebinding_to_what_is_not_public_is_hidden(internet: Internet, sprite: Sprite, policy: bool) -> None:
    hidden = ["127.0.0.1", PRIVATE, METADATA, "192.168.1.1", "100.64.0.1", "198.18.0.4", "0.0.0.0"]
    internet.records["rebind.test", "A"] = (60, [*hidden, WEB])
    internet.records["rebind.test", "AAAA"] = (60, ["::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"])
    if policy:
        sprite.obey("rebind.test")
    before = questions(sprite, "hidden")
    assert sprite.machine.addresses("rebind.test") == [WEB]
    assert sprite.machine.addresses("rebind.test", "AAAA") == []
    assert questions(sprite, "hidden") - before == 2


@pytest.mark.parametrize("address", [PRIVATE, METADATA, "192.168.1.1", "100.64.0.1", "fd00::1", "64:ff9b::a63:5"])
def test_what_is_not_public_is_refused_without_any_policy(sprite: Sprite, address: str) -> None:
    assert not sprite.machine.reaches(address)
    with pytest.raises(OSError, match=r"refused|denied|unreachable|Permission"):
        sprite.machine.connect(address)


def test_the_hosts_own_addresses_and_services_are_closed(internet: Internet, sprite: Sprite) -> None:
    """Whatever address of the host it is, public ones too."""
    with contextlib.ExitStack() as opened:
        for host_address in ("203.0.113.1", "2001:db8::1"):
            family = socket.AF_INET6 if ":" in host_address else socket.AF_INET
            listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.bind((host_address, 0))
            listener.listen()
            port = listener.getsockname()[1]
            socket.create_connection((host_address, port), 5).close()  # it is there
            with pytest.raises(OSError, match=r"timed out|refused"):
                sprite.machine.connect(host_address, port, GONE_S)
            with pytest.raises(OSError, match=r"timed out|refused|denied"):
                sprite.machine.connect("198.18.0.4", port, GONE_S)


def test_a_port_that_the_host_passes_on_is_closed(internet: Internet, sprite: Sprite) -> None:
    """As container engines publish ports: DNAT from the host's address to another network."""
    nftables.run(
        "table ip published {\n chain pre {\n type nat hook prerouting priority dstnat;\n"
        f" ip daddr 203.0.113.1 tcp dport 9999 dnat to {OTHER}:{PORT}\n }}\n}}\n"
    )
    try:
        assert not sprite.machine.reaches("203.0.113.1", 9999, GONE_S)
    finally:
        nftables.run("delete table ip published")


def test_other_machines_are_out_of_reach(networks: Networks, sprite: Sprite) -> None:
    second = Sprite(networks)
    try:
        listener = second.machine.make_socket(socket.AF_INET, socket.SOCK_STREAM)
        with listener:
            listener.bind(("0.0.0.0", PORT))
            listener.listen()
            uplink = networks.settings.range.uplink(second.member.number)
            for ends in uplink:
                for interface in (ends.near, ends.far):
                    with pytest.raises(OSError, match=r"timed out|refused|denied"):
                        sprite.machine.connect(str(interface.ip), PORT, GONE_S)
    finally:
        second.close()


# ---- time -----------------------------------------------------------------------------------------------------------


def test_a_pin_is_there_before_the_answer(internet: Internet, sprite: Sprite) -> None:
    """A client that connects in the same breath as the answer arrives is never refused."""
    sprite.obey("*.race.test")
    for number in range(30):
        address = f"198.51.100.{100 + number}"
        internet.add_address(address)
        internet.serve_tcp(address)
        internet.records[f"n{number}.race.test", "A"] = (60, [address])
    for number in range(30):
        (address,) = sprite.machine.addresses(f"n{number}.race.test")
        sprite.machine.connect(address).close()


@pytest.mark.parametrize("updates", [pytest.param(True, marks=pytest.mark.requires("nft-updates")), False])
def test_an_address_that_is_pinned_again_has_its_time_anew(sprite: Sprite, updates: bool) -> None:
    """Adding an element again changes nothing by itself, on kernels before 6.12 not even with another time."""
    sprite.obey("web.test")
    now = [0.0]
    pins = Pins(sprite.path, updates, lambda: now[0])
    pins.enforce(sprite.mark, False, lambda _: True)
    address = ipaddress.ip_address(WEB)
    pins.add("web.test", [address], 30)
    assert 85 <= _expires(sprite, WEB) <= 90
    now[0] += 1
    pins.add("web.test", [address], 300)
    assert 350 <= _expires(sprite, WEB) <= 360
    now[0] += 1
    pins.add("web.test", [address], 30)
    assert _expires(sprite, WEB) >= 340, "a shorter answer takes nothing away from the longer one"


def _set(sprite: Sprite) -> str:
    return f"pinned4_{sprite.mark}"


def _expires(sprite: Sprite, address: str) -> int:
    listed = json.loads(nftables.query(f"list set inet pilot {_set(sprite)}", sprite.path))["nftables"]
    (elements,) = (entry["set"]["elem"] for entry in listed if "set" in entry)
    (found,) = (each["elem"]["expires"] for each in elements if each["elem"]["val"] == address)
    return int(found)


def test_a_connection_outlives_its_pin(internet: Internet, sprite: Sprite) -> None:
    sprite.obey("web.test")
    assert sprite.machine.addresses("web.test") == [WEB]
    with sprite.machine.connect(WEB) as connection:
        assert connection.recv(64)
        nftables.run(f"delete element inet pilot {_set(sprite)} {{ {WEB} }}", sprite.path)  # as if its time were over
        connection.sendall(b"still here")
        assert connection.recv(64) == b"still here"
        assert not sprite.machine.reaches(WEB), "and a new one does not begin"


def test_a_connection_is_cut_when_its_rule_is_withdrawn(internet: Internet, sprite: Sprite) -> None:
    sprite.obey("web.test", "other.test")
    assert sprite.machine.addresses("web.test") == [WEB]
    assert sprite.machine.addresses("other.test") == [OTHER]
    with sprite.machine.connect(WEB) as kept, sprite.machine.connect(OTHER) as cut:
        assert kept.recv(64)
        assert cut.recv(64)
        sprite.obey("web.test")
        cut.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            cut.recv(64)
        kept.sendall(b"y")
        assert kept.recv(64) == b"y"


def test_connections_of_a_free_machine_are_cut_by_its_first_policy(internet: Internet, sprite: Sprite) -> None:
    with sprite.machine.connect(OTHER) as cut:
        assert cut.recv(64)
        sprite.obey("web.test")
        cut.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            cut.recv(64)


def test_answers_stop_too_when_a_rule_is_withdrawn(internet: Internet, sprite: Sprite) -> None:
    """A machine that only listens gets nothing more, either: both directions are judged."""
    sprite.obey("other.test")
    assert sprite.machine.addresses("other.test") == [OTHER]
    with sprite.machine.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        server = internet.bound(socket.SOCK_DGRAM, OTHER, 7777)
        server.settimeout(nets.WAIT_S)
        datagrams.connect((OTHER, 7777))
        datagrams.send(b"begin")
        _, peer = server.recvfrom(64)
        server.sendto(b"one", peer)
        datagrams.settimeout(nets.WAIT_S)
        assert datagrams.recv(64) == b"one"
        sprite.obey("web.test")
        server.sendto(b"two", peer)
        datagrams.settimeout(GONE_S)
        with pytest.raises(TimeoutError):
            datagrams.recv(64)


# ---- raw tricks -----------------------------------------------------------------------------------------------------


def test_another_source_address_is_dropped(networks: Networks, internet: Internet, sprite: Sprite) -> None:
    """Not even the address of a machine that may go where this one may not."""
    sprite.obey("web.test")
    assert sprite.machine.addresses("web.test") == [WEB]  # and so it knows its neighbour
    for source, bits, target in (("203.0.113.77", 32, WEB), ("2001:db8:77::1", 128, WEB6)):
        before = counter(sprite, "spoofed")
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        nodad = ("nodad",) if family == socket.AF_INET6 else ()
        sprite.machine.ip("addr", "add", f"{source}/{bits}", "dev", "eth0", *nodad)
        with sprite.machine.make_socket(family, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind((source, 0))
            datagrams.sendto(b"x", (target, PORT))
        sprite.machine.ip("addr", "del", f"{source}/{bits}", "dev", "eth0")
        wait_until(lambda before=before: counter(sprite, "spoofed") > before, "it is counted")  # type: ignore[misc]


def test_only_tcp_udp_and_echo_leave(internet: Internet, sprite: Sprite) -> None:
    before, refused = counter(sprite, "sent"), counter(sprite, "refused")
    for protocol in (47, 50, 132):  # GRE, ESP, SCTP
        with sprite.machine.make_socket(socket.AF_INET, socket.SOCK_RAW, protocol) as raw:
            raw.sendto(b"\0" * 32, (WEB, 0))
    wait_until(lambda: counter(sprite, "refused") >= refused + 3, "they are refused")
    assert counter(sprite, "sent") == before


def test_source_routes_are_dropped(sprite: Sprite) -> None:
    before = counter(sprite, "spoofed")
    with sprite.machine.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        route = struct.pack("BBB4sx", 131, 7, 4, socket.inet_aton("198.18.0.1"))  # loose source route
        datagrams.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, route)
        with contextlib.suppress(OSError):
            datagrams.sendto(b"x", (WEB, PORT))
    wait_until(lambda: counter(sprite, "spoofed") > before, "it is counted")


def test_fragments_are_put_together_before_they_are_judged(internet: Internet, sprite: Sprite) -> None:
    sprite.obey("web.test")
    large = bytes(4000)
    assert sprite.machine.exchange(OTHER, large, timeout_s=GONE_S) is None
    assert sprite.machine.addresses("web.test") == [WEB]
    assert sprite.machine.exchange(WEB, large) == WEB.encode() + b" " + large


def test_ipv6_is_no_way_around(internet: Internet, sprite: Sprite) -> None:
    sprite.obey("other.test")
    with pytest.raises(OSError, match="refused"):
        sprite.machine.connect(WEB6)
    sprite.obey("web.test")
    assert sprite.machine.addresses("web.test", "AAAA") == [WEB6]
    assert sprite.machine.reaches(WEB6)


def test_rules_of_the_machines_own_change_nothing(internet: Internet, sprite: Sprite) -> None:
    """Its root may flush and add whatever it likes in its own namespace."""
    sprite.obey("web.test")
    nftables.run("flush ruleset", sprite.machine.namespace)
    nftables.run(
        "table ip mine {\n chain out {\n type nat hook output priority -100;\n"
        f" tcp dport {PORT} dnat to {OTHER}\n }}\n}}\n",
        sprite.machine.namespace,
    )
    assert not sprite.machine.reaches(OTHER)


def test_nobody_outside_opens_a_connection_to_a_machine(internet: Internet, sprite: Sprite) -> None:
    uplink = sprite.networks.settings.range.uplink(sprite.member.number)[0].near.ip
    nets.command("ip", "-n", "test-internet", "route", "replace", "198.18.0.0/15", "via", "203.0.113.1")
    with sprite.machine.make_socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("0.0.0.0", PORT))
        listener.listen()

        def connect() -> None:
            with socket.socket() as made:
                made.settimeout(GONE_S)
                made.connect((str(uplink), PORT))

        with pytest.raises(TimeoutError):
            netns.inside(nets.PATH, connect)
        with pytest.raises(TimeoutError):
            connect()


# ---- messages -------------------------------------------------------------------------------------------------------


def test_dns_over_tcp_and_large_answers(internet: Internet, sprite: Sprite) -> None:
    internet.records["large.test", "TXT"] = (60, [f'"{"x" * 200}{number}"' for number in range(20)])
    sprite.obey("large.test")
    assert sprite.machine.ask("large.test", "TXT", edns=False).flags & dns.flags.TC
    assert sprite.machine.ask("large.test", "TXT").flags & dns.flags.TC
    whole = sprite.machine.ask("large.test", "TXT", stream=True)
    assert len(whole.answer[0]) == 20


def test_garbage_gets_no_answer_and_stops_nothing(sprite: Sprite) -> None:
    with sprite.machine.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect(("198.18.0.1", 53))
        query = dns.message.make_query("web.test", "A").to_wire()
        for wire in (b"", b"\0", query[:-1], query + b"x", bytes(12), b"\xff" * 64, query[:12] + b"\xc0\x0c\0\1\0\1"):
            datagrams.send(wire)
    assert sprite.machine.addresses("web.test") == [WEB]


def test_an_answer_is_not_taken_for_a_question(sprite: Sprite) -> None:
    query = dns.message.make_query("web.test", "A")
    query.flags |= dns.flags.QR
    assert sprite.machine.exchange("198.18.0.1", query.to_wire(), 53, GONE_S) is None


# ---- what fails is closed -------------------------------------------------------------------------------------------


def test_a_gateway_without_a_resolver_is_closed(networks: Networks, internet: Internet, sprite: Sprite) -> None:
    """Rules made anew let nothing through until the resolver has put the policy in."""
    nftables.run("delete table inet pilot", sprite.path)
    assert apply.ensure_gateway(networks._gateway(sprite.member)), "made anew"
    assert not sprite.machine.reaches(WEB)
    networks.enforce(sprite.member)
    assert sprite.machine.reaches(WEB)


def test_an_upstream_that_does_not_answer_is_servfail(internet: Internet, sprite: Sprite) -> None:
    internet.records["broken.test", "A"] = dns.rcode.SERVFAIL
    assert sprite.machine.ask("broken.test").rcode() == dns.rcode.SERVFAIL


def test_a_ceiling_is_not_lifted_by_rules(internet: Internet, sprite: Sprite) -> None:
    from pilot.host.network import policy as policies

    allowed = policies.parse({"rules": [{"domain": "*", "action": "allow"}]})
    closed = policies.effective(allowed, policies.Egress.NONE, ())
    assert closed.decide("web.test").action is policies.Action.DENY
    assert Settings(TAG).egress is policies.Egress.OPEN
