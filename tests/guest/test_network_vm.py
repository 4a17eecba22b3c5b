"""A virtual machine's network: every row of the bypass table, tried by a program in its world; one boot for all.

The rows are those of `tests/kernel/test_network_bypass.py`, on a machine whose card is a tap in its gateway.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
from sprites.types import URLSettings
from tests.kernel import test_network_bypass as rows
from tests.kernel import test_network_sprite as sprites
from tests.support import internet as nets
from tests.support import virtual
from tests.support.farsocket import Far
from tests.support.internet import OTHER, WEB, Internet, Machine
from tests.support.netsprite import Sprite, internet
from tests.support.pilotd import Pilotd

from pilot.host import daemon
from pilot.host.network.plan import Settings
from pilot.host.network.service import Member, Networks
from pilot.host.store import networks as network_rows
from pilot.host.store.sqlite import SqliteDatabase

__all__ = ["internet"]  # a fixture

pytestmark = pytest.mark.requires(
    "root", "private", "qemu", "mmdebstrap", "fuse", "space", "veth", "nft", "tun"
)  # fmt: skip

# What CI tries: one of each kind. `make vm-tests` tries all.
_SHORT = {
    "test_a_bare_address_is_refused_at_once",
    "test_another_resolver_is_ours",
    "test_rebinding_to_what_is_not_public_is_hidden",
    "test_the_hosts_own_addresses_and_services_are_closed",
    "test_a_connection_is_cut_when_its_rule_is_withdrawn",
    "test_another_source_address_is_dropped",
    "test_only_tcp_udp_and_echo_leave",
    "test_fragments_are_put_together_before_they_are_judged",
}
# Not of the machine, but of the host alone; or of namespaces that the test's threads join.
_NOT_HERE = {
    "test_a_ceiling_is_not_lifted_by_rules",
    "test_an_address_that_is_pinned_again_has_its_time_anew",
    "test_rules_of_the_machines_own_change_nothing",
}
_ALL = bool(os.environ.get("PILOT_VM_TESTS"))
for _name in [name for name in vars(rows) if name.startswith("test_")]:
    if _name not in _NOT_HERE and (_ALL or _name in _SHORT):
        globals()[_name] = getattr(rows, _name)


class Guest(Machine):
    """A program in the world of a virtual machine, as its root."""

    def __init__(self, far: Far, command: list[str], environment: dict[str, str]) -> None:
        self._far = far
        self._command = command
        self._environment = environment

    def close(self) -> None:
        self._far.close()

    def make_socket(self, family: int, kind: int, protocol: int = 0) -> Any:
        return self._far.make(family, kind, protocol)

    def send_each(self, datagrams: Any, messages: Sequence[bytes]) -> None:
        """In one go: the way there and back takes longer than what is limited."""
        datagrams.send_each(list(messages))

    def ip(self, *arguments: str) -> str:
        command = [*self._command, "ip", *arguments]
        return subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True).stdout


class Neighbours(Networks):
    """Of a pilotd that runs, beside it."""

    number = 0

    def taken_numbers(self) -> frozenset[int]:
        """pilotd's machine has one, too."""
        return super().taken_numbers() | {self.number}


class VirtualSprite(Sprite):
    """The same machine for all rows; each begins without a policy."""

    def __init__(self, networks: Neighbours, member: Member, machine: Machine) -> None:
        self.networks, self.member, self.machine = networks, member, machine


@pytest.fixture(scope="module")
def pilotd(internet: Internet) -> Iterator[Pilotd]:
    with virtual.serving("--resolver", nets.DNS) as made:
        yield made


@pytest.fixture(scope="module")
def created(pilotd: Pilotd) -> Iterator[Any]:
    """The sprite, by the official client."""
    with pilotd.client() as client:
        made = client.create_sprite("virtual")
        yield made
        made.destroy()


@pytest.fixture(scope="module")
def networks(pilotd: Pilotd) -> Neighbours:
    return Neighbours(Settings(daemon.Settings(str(pilotd.state)).tag), str(pilotd.state), [nets.DNS])


@pytest.fixture(scope="module")
def member(pilotd: Pilotd, created: Any, networks: Neighbours) -> Member:
    with contextlib.closing(SqliteDatabase(str(pilotd.state / "state.db"))) as database:
        (row,) = network_rows.every(database)
    networks.number = row.number
    return Member(row.machine, row.number, serial=row.serial)


@pytest.fixture(scope="module")
def guest(pilotd: Pilotd, created: Any) -> Iterator[Guest]:
    environment = {**os.environ, "HOME": "/nonexistent", "SPRITES_API_URL": pilotd.url, "SPRITE_TOKEN": pilotd.token()}
    command = [sys.executable, "-m", "pilot.client.main", "exec", "-s", "virtual", "--", "sudo", "-n"]
    made = Guest(Far(command, environment), command, environment)
    yield made
    made.close()


@pytest.fixture
def sprite(networks: Neighbours, member: Member, guest: Guest) -> VirtualSprite:
    made = VirtualSprite(networks, member, guest)
    made.renew()
    return made


def test_a_virtual_machine_is_on_the_network(internet: Internet, created: Any, sprite: Sprite) -> None:
    """By names as the C library resolves them, as a user who is not root; and only where its policy lets it."""
    resolver = created.run("cat", "/etc/resolv.conf", capture_output=True).stdout
    assert resolver == b"nameserver 198.18.0.1\n"
    script = f"exec 3<>/dev/tcp/web.test/{nets.PORT} && head -n1 <&3"
    done = created.run("bash", "-c", script, capture_output=True)
    assert (done.stdout, done.stderr) == (WEB.encode() + b"\n", b"")
    sprite.obey("web.test")
    assert sprite.machine.addresses("web.test") == [WEB]
    assert sprite.machine.reaches(WEB)
    assert not sprite.machine.reaches(OTHER)


@pytest.mark.requires("vm-tests")
def test_a_web_server_of_a_virtual_machine_answers_at_its_address(pilotd: Pilotd, created: Any) -> None:
    """In curl, as it stands; also when the machine is frozen, which the request wakes."""
    script = (
        "echo hello >/tmp/hello && cd /tmp && setsid python3 -m http.server 8080 --bind 127.0.0.1 >/dev/null 2>&1 &"
    )
    created.run("sh", "-c", script)
    created.client.update_url_settings(created.name, URLSettings(auth="public"))
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    sprite_url = f"{pilotd.url}/v1/sprites/{created.name}"
    printed = httpx.get(sprite_url, headers=headers).json()["url"]

    def curl() -> str:
        command = [
            "curl",
            "-sS",
            "--max-time",
            "120",
            "--retry",
            "60",
            "--retry-all-errors",
            "--retry-delay",
            "1",
            "-f",
        ]
        done = subprocess.run([*command, f"{printed}/hello"], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert curl() == "hello\n"
    assert httpx.post(f"{sprite_url}/sleep", headers=headers, timeout=120).status_code == 200
    assert httpx.get(sprite_url, headers=headers).json()["status"] == "warm"
    assert curl() == "hello\n"


# Three of them, and a pilotd that is killed; last, because it counts what is there.
test_virtual_machines_in_one_private_network = pytest.mark.requires("vm-tests")(
    sprites.test_sprites_in_one_private_network_see_each_other_by_name
)
