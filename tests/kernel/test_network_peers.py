"""Machines in one private network: they reach each other by name, and nobody else reaches them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator

import dns.rcode
import pytest
from tests.support import internet as nets
from tests.support.internet import OTHER, WEB, Internet, wait_until
from tests.support.netsprite import Sprite, internet, networks

from pilot.host.network.service import Networks

__all__ = ["internet", "networks"]  # fixtures

pytestmark = pytest.mark.requires("root", "private", "veth", "nft")

PORT = 7000


class Server:
    """Listens in a machine, on every address of it. Close it."""

    def __init__(self, sprite: Sprite) -> None:
        self._listener = sprite.machine.make_socket(socket.AF_INET6, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self._listener.bind(("::", PORT))
        self._listener.listen(8)
        self._listener.settimeout(nets.WAIT_S)

    def close(self) -> None:
        self._listener.close()

    def accept(self) -> socket.socket:
        """The next connection; the caller closes it."""
        taken, _ = self._listener.accept()
        taken.settimeout(nets.WAIT_S)
        return taken

    def was_reached(self) -> bool:
        """Whether there is a connection that nobody has taken."""
        return bool(select.select([self._listener], [], [], 0)[0])


@pytest.fixture
def three(networks: Networks) -> Iterator[tuple[Sprite, Sprite, Sprite]]:
    """Two that are in one private network, as `one` and `two`, and a stranger."""
    made = Sprite(networks), Sprite(networks), Sprite(networks)
    made[0].meet(two=made[1])
    made[1].meet(one=made[0])
    yield made
    for each in made:
        each.close()


@pytest.fixture
def server(three: tuple[Sprite, Sprite, Sprite]) -> Iterator[Server]:
    with contextlib.closing(Server(three[1])) as made:
        yield made


@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_a_peer_is_reached_by_its_name(three: tuple[Sprite, Sprite, Sprite], server: Server, kind: str) -> None:
    one, two, _ = three
    (address,) = one.machine.addresses("two.internal", kind)
    assert two.machine.addresses("one.internal", kind) != [address]
    with one.machine.connect(address, PORT) as here, server.accept() as there:
        here.sendall(b"asked")
        assert there.recv(64) == b"asked"
        there.sendall(b"answered")
        assert here.recv(64) == b"answered"


def test_the_outside_is_as_before(internet: Internet, three: tuple[Sprite, Sprite, Sprite]) -> None:
    one, _, stranger = three
    for each in (one, stranger):
        assert each.machine.addresses("web.test") == [WEB]
        assert each.machine.reaches(WEB)


def test_a_stranger_has_neither_the_name_nor_the_address(three: tuple[Sprite, Sprite, Sprite], server: Server) -> None:
    """Nor is it let in when only its own gateway says that it may."""
    one, two, stranger = three
    (address,) = one.machine.addresses("two.internal")
    assert stranger.machine.ask("two.internal").rcode() == dns.rcode.NXDOMAIN
    with pytest.raises(ConnectionRefusedError):
        stranger.machine.connect(address, PORT)
    stranger.meet(two=two)
    with pytest.raises(OSError, match=r"refused|timed out"):
        stranger.machine.connect(address, PORT, timeout_s=1)
    assert not server.was_reached()
    with one.machine.connect(address, PORT), server.accept():
        pass  # it is there for a peer


def test_a_machine_that_meets_nobody_asks_for_names_in_vain(three: tuple[Sprite, Sprite, Sprite]) -> None:
    one, _, stranger = three
    assert stranger.machine.ask("one.internal").rcode() == dns.rcode.NXDOMAIN
    assert one.machine.ask("three.internal").rcode() == dns.rcode.NXDOMAIN


def test_a_policy_speaks_of_peers_as_of_any_name(
    internet: Internet, three: tuple[Sprite, Sprite, Sprite], server: Server
) -> None:
    one, _, _ = three
    (address,) = one.machine.addresses("two.internal")
    one.obey("web.test")
    assert one.machine.ask("two.internal").rcode() == dns.rcode.REFUSED
    with pytest.raises(ConnectionRefusedError):
        one.machine.connect(address, PORT)
    one.obey("*.internal")
    with pytest.raises(ConnectionRefusedError):
        one.machine.connect(address, PORT)  # nobody has asked for the name yet
    assert one.machine.addresses("two.internal") == [address]
    with one.machine.connect(address, PORT), server.accept():
        pass
    assert not one.machine.reaches(OTHER)


def test_a_closed_machine_is_reached_by_its_peers_and_reaches_nobody(
    three: tuple[Sprite, Sprite, Sprite], server: Server
) -> None:
    one, two, _ = three
    two.obey(("*", "deny"))
    (address,) = one.machine.addresses("two.internal")
    with one.machine.connect(address, PORT) as here, server.accept() as there:
        there.sendall(b"answered")
        assert here.recv(64) == b"answered"
    assert two.machine.ask("one.internal").rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize("who", ["the one that asked", "the one that was asked"])
def test_who_leaves_is_cut_off_both_ways(three: tuple[Sprite, Sprite, Sprite], server: Server, who: str) -> None:
    """By its own gateway: nobody else has to be told for that."""
    one, two, _ = three
    (address,) = one.machine.addresses("two.internal")
    with one.machine.connect(address, PORT) as here, server.accept() as there:
        leaver, its_end = (one, here) if who == "the one that asked" else (two, there)
        leaver.meet()
        its_end.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            its_end.recv(64)
        other_end = there if its_end is here else here
        assert not select.select([other_end], [], [], 0)[0], "what was refused has come through"
    with pytest.raises(OSError, match=r"refused|timed out"):
        one.machine.connect(address, PORT, timeout_s=1)
    assert not server.was_reached()


def test_peers_are_known_to_the_next_resolver(
    networks: Networks, three: tuple[Sprite, Sprite, Sprite], server: Server
) -> None:
    one, _, _ = three
    (address,) = one.machine.addresses("two.internal")
    pid = networks._supervisor.find()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: networks._supervisor.find() not in (None, pid), "another resolver answers")
    assert one.machine.addresses("two.internal") == [address]
    with one.machine.connect(address, PORT), server.accept():
        pass


def test_peers_are_kept_when_the_hosts_table_is_made_anew(
    networks: Networks, three: tuple[Sprite, Sprite, Sprite], server: Server
) -> None:
    """As a pilotd does that starts; and the gateways, as one does whose rules are others."""
    one, two, _ = three
    (address,) = one.machine.addresses("two.internal")
    networks.start_host()
    for each in (one, two):
        networks.ensure(each.member)
    with one.machine.connect(address, PORT), server.accept():
        pass
