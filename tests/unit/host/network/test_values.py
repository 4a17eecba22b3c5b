"""Networks before anything is done: policies, addresses, what may never be reached, scripts as text."""

from __future__ import annotations

import ipaddress

import pytest

from pilot import errors
from pilot.host.network import addresses, policy, ruleset
from pilot.host.network.addresses import DEFAULT_RANGE, parse_range
from pilot.host.network.never import Never
from pilot.host.network.plan import Gateway, Limits, Settings, parse_limits
from pilot.host.network.policy import Action, Egress, Rule
from pilot.host.network.resolver.servers import Server, parse_resolv_conf, parse_server
from pilot.ids import MachineId

_ALLOW = {"domain": "a.test", "action": "allow"}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([], "$"),
        ({}, "$.rules"),
        ({"rules": {}}, "$.rules"),
        ({"rules": [], "mode": "x"}, "$.mode"),
        ({"rules": [1]}, "$.rules[0]"),
        ({"rules": [{}]}, "$.rules[0]"),
        ({"rules": [_ALLOW | {"include": "defaults"}]}, "$.rules[0]"),
        ({"rules": [_ALLOW, {"include": "others"}]}, "$.rules[1].include"),
        ({"rules": [{"domain": "a.test", "action": "maybe"}]}, "$.rules[0].action"),
        ({"rules": [{"domain": "a.test", "action": None}]}, "$.rules[0].action"),
        ({"rules": [{"domain": 1, "action": "allow"}]}, "$.rules[0].domain"),
        ({"rules": [_ALLOW, {"domain": "A.test.", "action": "deny"}]}, "$.rules[1]"),
        ({"rules": [_ALLOW] * (policy.MOST_RULES + 1)}, "$.rules"),
    ],
)
def test_nonsense_is_refused_by_its_place(document: object, place: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        policy.parse(document)
    assert caught.value.path == place


@pytest.mark.parametrize(
    "domain",
    ["", ".", "a..b", "*.", "*.*", "a.*.b", "*a.b", "-a.b", "a b", "a/b", "http://a.b", "a.b:80", "1.2.3.4", "::1",
     "[::1]", "*.1.2.3.4", "x" * 64, ".".join(["x" * 60] * 5), "a\0b", "a\n.b"],
)  # fmt: skip
def test_what_is_no_domain(domain: str) -> None:
    with pytest.raises(errors.SpecError):
        policy.parse({"rules": [{"domain": domain, "action": "allow"}]})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("A.Test.", "a.test"),
        ("*.A.test", "*.a.test"),
        ("*", "*"),
        ("münchen.de", "xn--mnchen-3ya.de"),
        ("_x.a", "_x.a"),
    ],
)
def test_domains_are_compared_as_the_network_has_them(given: str, meant: str) -> None:
    assert policy.parse_domain(given, "$") == meant


def test_a_policy_reads_as_it_was_written() -> None:
    document = {"rules": [_ALLOW, {"include": "defaults"}, {"domain": "*.b.test", "action": "deny"}]}
    assert policy.parse(document).as_json() == document


def test_more_exact_rules_win_whatever_their_order() -> None:
    rules = [("*", "deny"), ("*.a", "allow"), ("*.b.a", "deny"), ("c.b.a", "allow")]
    expected = {"c.b.a": Action.ALLOW, "d.b.a": Action.DENY, "x.y.b.a": Action.DENY, "b.a": Action.ALLOW,
                "a": Action.DENY, "z": Action.DENY}  # fmt: skip
    for order in (rules, rules[::-1]):
        parsed = policy.parse({"rules": [{"domain": name, "action": action} for name, action in order]})
        found = policy.effective(parsed, Egress.OPEN, ())
        assert {name: found.decide(name).action for name in expected} == expected


def test_a_rule_beats_one_that_was_included() -> None:
    defaults = (Rule("a.test", Action.ALLOW), Rule("b.test", Action.ALLOW))
    parsed = policy.parse({"rules": [{"domain": "a.test", "action": "deny"}, {"include": "defaults"}]})
    found = policy.effective(parsed, Egress.OPEN, defaults)
    assert found.decide("a.test").action is Action.DENY
    assert found.decide("b.test").action is Action.ALLOW


@pytest.mark.parametrize(
    ("rules", "egress", "reached"),
    [
        ([], Egress.OPEN, {"own.test", "default.test", "else.test"}),
        ([], Egress.POLICY, {"default.test"}),
        ([], Egress.NONE, set()),
        (["own.test"], Egress.OPEN, {"own.test"}),
        (["own.test"], Egress.POLICY, {"own.test"}),
        (["own.test"], Egress.NONE, set()),
        (["*"], Egress.NONE, set()),
    ],
)
def test_egress_is_a_ceiling(rules: list[str], egress: Egress, reached: set[str]) -> None:
    parsed = policy.parse({"rules": [{"domain": rule, "action": "allow"} for rule in rules]})
    found = policy.effective(parsed, egress, (Rule("default.test", Action.ALLOW),))
    names = ("own.test", "default.test", "else.test")
    assert {name for name in names if found.decide(name).action is Action.ALLOW} == reached


def test_limits_are_by_name_over_what_there_is_without() -> None:
    assert parse_limits([]) == Limits()
    assert parse_limits(["bytes=1000", "connections=5"]) == Limits(connections=5, bytes_per_s=1000)
    for text in ("bytes", "bytes=", "bytes=0", "bytes=-1", "bytes=x", "speed=1", f"bytes={1 << 50}", "bytes=\u0665"):
        with pytest.raises(errors.PilotError, match="network limit"):
            parse_limits([text])


def test_addresses_of_all_numbers_differ() -> None:
    cut = parse_range("198.18.0.0/24,fd00::/64")
    assert cut.capacity == 126
    seen = [end.ip for number in range(1, 127) for ends in cut.uplink(number) for end in (ends.near, ends.far)]
    inside = [end.ip for ends in cut.inside() for end in (ends.near, ends.far)]
    assert len({*seen, *inside}) == len(seen) + len(inside)
    assert all(any(address in network for network in cut.networks) for address in (*seen, *inside))
    assert {cut.number_of(end.ip) for ends in cut.uplink(5) for end in (ends.near, ends.far)} == {5}
    assert [cut.number_of(end.ip) for ends in cut.inside() for end in (ends.near, ends.far)] == [None] * 4
    assert cut.number_of(ipaddress.ip_address("192.0.2.1")) is None
    for number in (0, 127):
        with pytest.raises(errors.HostError):
            cut.uplink(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "10.0.0.1/8",
        "fd00::/64",
        "10.0.0.0/8,10.1.0.0/16",
        "10.0.0.0/30",
        "10.0.0.0/31",
        "127.0.0.0/8",
        "127.4.0.0/16",
        "224.0.0.0/8",
        "10.0.0.0/8,ff00::/64",
    ],
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(errors.PilotError):
        parse_range(text)


def test_never_knows_what_is_not_public_and_the_operators_exceptions() -> None:
    never = Never((ipaddress.ip_network("10.1.0.0/16"),), parse_range(DEFAULT_RANGE).networks)
    for text in (
        "10.2.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "198.18.0.9",
        "::1",
        "fd00::1",
        "64:ff9b::a00:1",
        "::ffff:1.1.1.1",
    ):
        assert ipaddress.ip_address(text) in never, text
    for text in ("10.1.2.3", "1.1.1.1", "2606:4700::1"):
        assert ipaddress.ip_address(text) not in never, text


def test_the_machines_own_range_cannot_be_allowed() -> None:
    never = Settings("t", allowed=(ipaddress.ip_network("198.18.0.0/15"),)).never
    assert ipaddress.ip_address("198.18.0.9") in never


def test_names_of_links_fit_the_kernel() -> None:
    assert len(Gateway(MachineId("m"), addresses.MOST, Settings("0a1b2c3d")).uplink_name) <= 15


def test_a_script_that_differs_has_another_version() -> None:
    gateways = [Gateway(MachineId("m"), number, Settings("t")) for number in (1, 2)]
    versions = {ruleset.versioned(ruleset.gateway_script(gateway))[1] for gateway in (*gateways, gateways[0])}
    assert len(versions) == 2


def test_peers_as_scripts() -> None:
    found = [ipaddress.ip_address(text) for text in ("198.18.0.5", "fd00::5", "198.18.0.7")]
    assert ruleset.peers_script(found).splitlines() == [
        "flush set inet pilot peers4",
        "add element inet pilot peers4 { 198.18.0.5, 198.18.0.7 }",
        "flush set inet pilot peers6",
        "add element inet pilot peers6 { fd00::5 }",
    ]
    assert ruleset.peers_script([]).splitlines() == ["flush set inet pilot peers4", "flush set inet pilot peers6"]
    own = found[:1]
    assert ruleset.peered_script(Settings("t"), own, True) == "add element inet pilot_t peered4 { 198.18.0.5 }\n"
    assert ruleset.peered_script(Settings("t"), own, False).split("\n", 1)[1].startswith("delete element inet pilot_t")


def test_servers_as_operators_write_them() -> None:
    assert parse_server("9.9.9.9") == Server("9.9.9.9", 53)
    assert parse_server("9.9.9.9:5353") == Server("9.9.9.9", 5353)
    assert parse_server("2620:fe::fe") == Server("2620:fe::fe", 53)
    assert parse_server("[2620:fe::fe]:5353") == Server("2620:fe::fe", 5353)
    for text in ("", "dns.test", "9.9.9.9:0", "9.9.9.9:x", "[::1", "1.2.3.4:99999"):
        with pytest.raises(errors.PilotError):
            parse_server(text)
    text = "# x\nnameserver 9.9.9.9\nnameserver fe80::1%eth0\nsearch a\nnameserver\nnameserver 2620:fe::fe\n"
    assert parse_resolv_conf(text) == (Server("9.9.9.9"), Server("fe80::1%eth0"), Server("2620:fe::fe"))
