"""The network of a machine, from its namespace to an Internet of the test's own: out by NAT, names, policy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import dns.rcode
import pytest
from tests.support import internet as nets
from tests.support.internet import OTHER, PORT, WEB, WEB6, Internet, Machine

from pilot.host.network import policy
from pilot.host.network.plan import Settings
from pilot.host.network.service import Member, Networks
from pilot.ids import MachineId

pytestmark = pytest.mark.requires("root", "private", "veth", "nft")


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with nets.internet() as made:
        for address in (WEB, WEB6, OTHER):
            made.serve_tcp(address)
            made.serve_udp(address)
        made.records |= {
            ("web.test", "A"): (60, [WEB]),
            ("web.test", "AAAA"): (60, [WEB6]),
            ("other.test", "A"): (60, [OTHER]),
        }
        yield made


@pytest.fixture(scope="module")
def networks(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Networks]:
    made = Networks(Settings("0a1b2c3d"), str(tmp_path_factory.mktemp("state")), [nets.DNS])
    made.start()
    yield made
    made.stop()


NUMBERS = itertools.count(1)


class Sprite:
    """A machine with its network."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        number = next(NUMBERS)
        self.member = Member(MachineId(f"m{number}"), number)
        self.machine = Machine()
        networks.ensure(self.member)
        networks.connect(self.member, self.machine.pid)

    def obey(self, *rules: str | tuple[str, str]) -> None:
        """A policy: names that are allowed, or (name, action)."""
        entries = [(rule, "allow") if isinstance(rule, str) else rule for rule in rules]
        document = {"rules": [{"domain": domain, "action": action} for domain, action in entries]}
        serial = self.member.serial + 1
        self.member = Member(self.member.machine, self.member.number, policy.parse(document), serial)
        self.networks.enforce(self.member)

    def close(self) -> None:
        self.machine.close()
        self.networks.remove(self.member.machine, self.member.number)


@pytest.fixture
def sprite(networks: Networks) -> Iterator[Sprite]:
    made = Sprite(networks)
    yield made
    made.close()


def test_without_a_policy_everything_outside_is_reached_by_nat(internet: Internet, sprite: Sprite) -> None:
    internet.seen.clear()
    assert sprite.machine.addresses("web.test") == [WEB]
    assert sprite.machine.reaches(WEB)
    assert sprite.machine.exchange(OTHER, b"hello") == f"{OTHER} hello".encode()
    assert set(internet.seen) == {"203.0.113.1"}  # the host's, not the machine's


def test_ipv6_goes_out_as_well(internet: Internet, sprite: Sprite) -> None:
    assert sprite.machine.addresses("web.test", "AAAA") == [WEB6]
    assert sprite.machine.reaches(WEB6)
    assert sprite.machine.exchange(WEB6, b"hello") == f"{WEB6} hello".encode()


def test_a_policy_lets_a_machine_reach_what_it_names_and_nothing_else(internet: Internet, sprite: Sprite) -> None:
    sprite.obey("web.test")
    assert not sprite.machine.reaches(WEB), "an address that no name has led to yet"
    assert sprite.machine.addresses("web.test") == [WEB]
    assert sprite.machine.reaches(WEB)
    assert sprite.machine.reaches(WEB, PORT)
    with pytest.raises(ConnectionRefusedError):
        sprite.machine.connect(OTHER)


def test_a_denied_name_is_refused_and_nobody_else_is_asked(internet: Internet, sprite: Sprite) -> None:
    sprite.obey("web.test")
    internet.asked.clear()
    assert sprite.machine.ask("other.test").rcode() == dns.rcode.REFUSED
    assert sprite.machine.ask("x.web.test").rcode() == dns.rcode.REFUSED
    assert internet.asked == []


def test_two_machines_have_policies_of_their_own(networks: Networks, internet: Internet, sprite: Sprite) -> None:
    second = Sprite(networks)
    try:
        sprite.obey("web.test")
        second.obey("other.test")
        assert sprite.machine.addresses("web.test") == [WEB]
        assert second.machine.addresses("other.test") == [OTHER]
        assert sprite.machine.reaches(WEB)
        assert second.machine.reaches(OTHER)
        assert not sprite.machine.reaches(OTHER)
        assert not second.machine.reaches(WEB)
    finally:
        second.close()
