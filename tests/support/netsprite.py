"""Machines with networks for tests, on an Internet of the test's own; import the fixtures by name."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import pytest

from pilot.host.network import policy, zone
from pilot.host.network.plan import Settings
from pilot.host.network.service import Member, Networks, Peer
from pilot.ids import MachineId

from . import internet as nets
from .internet import OTHER, WEB, WEB6, Internet, Machine

TAG = "0a1b2c3d"
_NUMBERS = itertools.count(1)


class Sprite:
    """A machine with its network."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        taken = networks.taken_numbers()  # a pilotd of other tests may have machines, too
        number = next(number for number in _NUMBERS if number not in taken)
        self.member = Member(MachineId(f"m{number}"), number)
        self.machine = Machine()
        networks.ensure(self.member)
        networks.connect(self.member, self.machine.pid)

    @property
    def mark(self) -> int:
        """What its policy is called in the kernel."""
        found = zone.read(self.networks._directory, self.member.machine)
        assert found is not None
        return found.mark

    @property
    def path(self) -> str:
        """Its gateway's namespace."""
        return f"/run/netns/pilot-{self.member.machine}"

    def obey(self, *rules: str | tuple[str, str]) -> None:
        """A policy: names that are allowed, or (name, action)."""
        entries = [(rule, "allow") if isinstance(rule, str) else rule for rule in rules]
        document = {"rules": [{"domain": domain, "action": action} for domain, action in entries]}
        self.member = dataclasses.replace(self.member, policy=policy.parse(document), serial=self.member.serial + 1)
        self.networks.enforce(self.member)

    def renew(self) -> None:
        """No policy any more."""
        serial = self._serial()
        self.member = dataclasses.replace(self.member, policy=policy.Policy(), serial=serial + 1)
        self.networks.enforce(self.member)

    def meet(self, **peers: Sprite) -> None:
        """These are its peers, by name, and nobody else is."""
        found = tuple(Peer(name, peer.member.number) for name, peer in peers.items())
        self.member = dataclasses.replace(self.member, peers=found)
        self.networks.refresh(self.member.machine, lambda: self.member)

    def _serial(self) -> int:
        found = zone.read(self.networks._directory, self.member.machine)
        assert found is not None
        return found.serial

    def close(self) -> None:
        self.machine.close()
        self.networks.remove(self.member.machine, self.member.number)


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with nets.internet() as made:
        for address in (WEB, WEB6, OTHER, nets.PRIVATE, nets.METADATA):
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
    made = Networks(Settings(TAG), str(tmp_path_factory.mktemp("state")), [nets.DNS])
    made.start()
    yield made
    made.stop()


@pytest.fixture
def sprite(networks: Networks) -> Iterator[Sprite]:
    made = Sprite(networks)
    yield made
    made.close()
