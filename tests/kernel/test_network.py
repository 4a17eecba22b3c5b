"""The network of a machine, from its namespace to an Internet of the test's own: out by NAT, names, policy."""

from __future__ import annotations

import os
import pathlib
import socket
import struct

import dns.rcode
import pytest
from tests.support.internet import DNS, OTHER, PORT, WEB, WEB6, Internet
from tests.support.netsprite import Sprite, internet, networks, sprite

from pilot import errors
from pilot.host.network.plan import Settings
from pilot.host.network.service import Member, Networks
from pilot.ids import MachineId

__all__ = ["internet", "networks", "sprite"]  # fixtures

pytestmark = pytest.mark.requires("root", "private", "veth", "nft")


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


def test_everybody_pings(internet: Internet, sprite: Sprite) -> None:
    """By the socket for it, which needs no privileges over the network."""

    def ping() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as echo:
            echo.settimeout(15)
            echo.sendto(struct.pack("!BBHHH", 8, 0, 0, 0, 1) + b"hello", (WEB, 0))
            return echo.recv(64)[8:]

    assert sprite.machine.inside(ping) == b"hello"


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


def test_two_pilotds_with_one_range_do_not_give_two_machines_one_address(
    networks: Networks, internet: Internet, sprite: Sprite, tmp_path: pathlib.Path
) -> None:
    """The kernel would let two links have it, and send the answers to one of them."""
    other = Networks(Settings("0b0b0b0b"), str(tmp_path), [DNS])
    other.start()
    try:
        number = sprite.member.number
        assert number in other.taken_numbers()
        assert number not in networks.taken_numbers()
        before = set(os.listdir("/sys/class/net"))
        with pytest.raises(errors.Conflict, match="somebody else on this host has"):
            other.ensure(Member(MachineId("rival"), number))
        assert set(os.listdir("/sys/class/net")) == before
        other.ensure(Member(MachineId("rival"), number + 1000))
        assert number + 1000 in networks.taken_numbers()
        other.remove(MachineId("rival"), number + 1000)
        assert sprite.machine.reaches(WEB)
    finally:
        other.stop()
