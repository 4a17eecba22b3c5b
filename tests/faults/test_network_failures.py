"""What of a sprite's network survives which death, what a flood of one does to another, and that nothing is left."""

from __future__ import annotations

import os
import pathlib
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator

import dns.message
import dns.rcode
import pytest
from tests.support import internet as nets
from tests.support import leftovers, networksoak
from tests.support.internet import OTHER, PORT, WEB, Internet, wait_until
from tests.support.netsprite import TAG, Sprite, internet, networks, sprite

from pilot.host.network import apply, policy
from pilot.host.network.addresses import parse_range
from pilot.host.network.plan import Gateway, Settings
from pilot.host.network.service import Member, Networks
from pilot.kernel import netns

__all__ = ["internet", "networks", "sprite"]  # fixtures

pytestmark = pytest.mark.requires("root", "private", "veth", "nft")


def resolver_pid(networks: Networks) -> int:
    found = networks._supervisor.find()
    assert found is not None
    return found


def test_the_resolver_has_a_cgroup_of_its_own(networks: Networks) -> None:
    """In every hierarchy that has one; the rest of what we are is not in it."""
    group = f"/pilot-{TAG}/resolver"
    with open(f"/proc/{resolver_pid(networks)}/cgroup") as file:
        joined = [line for line in file.read().splitlines() if line.endswith(group)]
    assert joined
    with open("/proc/self/cgroup") as file:
        assert group not in file.read()


@pytest.fixture
def neighbour(networks: Networks) -> Iterator[Sprite]:
    made = Sprite(networks)
    yield made
    made.close()


def test_a_killed_resolver_opens_nothing_and_is_back(networks: Networks, internet: Internet, sprite: Sprite) -> None:
    sprite.obey("web.test")
    assert sprite.machine.addresses("web.test") == [WEB]
    with sprite.machine.connect(WEB) as connection:
        assert connection.recv(64)
        pid = resolver_pid(networks)
        os.kill(pid, signal.SIGSTOP)  # so that it is not back before we have looked
        os.kill(pid, signal.SIGKILL)
        assert not sprite.machine.reaches(OTHER)
        connection.sendall(b"still here")
        assert connection.recv(64) == b"still here"
        wait_until(lambda: networks._supervisor.find() not in (None, pid), "another resolver answers")
        assert sprite.machine.ask("other.test").rcode() == dns.rcode.REFUSED
        assert sprite.machine.addresses("web.test") == [WEB]
        connection.sendall(b"and on")
        assert connection.recv(64) == b"and on"


def test_a_new_resolver_keeps_what_was_pinned(networks: Networks, internet: Internet, sprite: Sprite) -> None:
    """The program that knows the address already connects without asking again."""
    sprite.obey("web.test")
    assert sprite.machine.addresses("web.test") == [WEB]
    pid = resolver_pid(networks)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: networks._supervisor.find() not in (None, pid), "another resolver answers")
    assert sprite.machine.reaches(WEB)


def test_a_policy_that_changed_while_there_was_no_resolver_is_in_force_with_the_next(
    networks: Networks, internet: Internet, sprite: Sprite
) -> None:
    sprite.obey("web.test")
    assert sprite.machine.addresses("web.test") == [WEB]
    pid = resolver_pid(networks)
    os.kill(pid, signal.SIGSTOP)
    try:
        from pilot.host.network import zone

        wanted = policy.parse({"rules": [{"domain": "other.test", "action": "allow"}]})
        sprite.member = Member(sprite.member.machine, sprite.member.number, wanted, sprite.member.serial + 1)
        zone.write(networks._directory, networks._zone(sprite.member))
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: networks._supervisor.find() not in (None, pid), "another resolver answers")
    assert not sprite.machine.reaches(WEB), "it was pinned by the policy before"
    assert sprite.machine.addresses("other.test") == [OTHER]
    assert sprite.machine.reaches(OTHER)


def test_a_gateway_that_was_lost_is_made_again_under_a_machine_that_runs(
    networks: Networks, internet: Internet, sprite: Sprite
) -> None:
    sprite.obey("web.test")
    apply.remove_gateway(sprite.member.machine, None)
    assert not sprite.machine.reaches(WEB, timeout_s=1)
    networks.ensure(sprite.member)
    assert not networks.is_connected(sprite.member)
    networks.connect(sprite.member, sprite.machine.pid)
    assert sprite.machine.addresses("web.test") == [WEB]
    assert sprite.machine.reaches(WEB)
    assert not sprite.machine.reaches(OTHER)


@pytest.mark.parametrize("step", ["namespace", "rules", "link"])
def test_what_a_crash_has_left_half_made_is_finished(
    networks: Networks, internet: Internet, sprite: Sprite, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ensure_gateway` dies between two of its lines; the next one goes on from there."""
    sprite.networks.remove(sprite.member.machine, sprite.member.number)
    after = {"namespace": (netns, "inside"), "rules": (apply, "_send"), "link": (apply, "_number_uplink")}
    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise OSError(5, "died")

        patch.setattr(*after[step], die)
        with pytest.raises(Exception, match="died"):
            networks.ensure(sprite.member)
    assert not sprite.machine.reaches(WEB, timeout_s=1)
    networks.ensure(sprite.member)
    networks.connect(sprite.member, sprite.machine.pid)
    assert sprite.machine.addresses("web.test") == [WEB]
    assert sprite.machine.reaches(WEB)


def test_another_range_numbers_the_links_anew(networks: Networks, internet: Internet, sprite: Sprite) -> None:
    """As a pilotd does that starts with another --network-range, and back."""
    member = sprite.member
    other = Gateway(member.machine, member.number, Settings(TAG, parse_range("198.19.0.0/16,fd00:77::/64")))
    apply.ensure_gateway(other)
    apply.connect(other, sprite.machine.pid)
    assert "198.19.0.2/30" in sprite.machine.ip("addr")
    assert "198.18.0.2/30" not in sprite.machine.ip("addr")
    networks.ensure(member)
    assert not networks.is_connected(member)
    networks.connect(member, sprite.machine.pid)
    assert sprite.machine.addresses("web.test") == [WEB]
    assert sprite.machine.reaches(WEB)


def test_everything_may_be_repeated(networks: Networks, internet: Internet, sprite: Sprite) -> None:
    for _ in range(2):
        networks.start_host()
        networks.ensure(sprite.member)
        networks.connect(sprite.member, sprite.machine.pid)
    assert sprite.machine.reaches(WEB)
    for _ in range(2):
        networks.remove(sprite.member.machine, sprite.member.number)
    assert not sprite.machine.reaches(WEB, timeout_s=1)


# ---- floods ---------------------------------------------------------------------------------------------------------


class Flood:
    """Threads that do `once` as often as they can, until the block ends."""

    def __init__(self, *once: object) -> None:
        self._once = once
        self._over = threading.Event()

    def __enter__(self) -> None:
        self._threads = [threading.Thread(target=self._run, args=(each,), name="flood") for each in self._once]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, once: object) -> None:
        assert callable(once)
        while not self._over.is_set():
            try:
                once()
            except OSError:
                time.sleep(0)  # what a flood meets is not what is tested


def test_a_flood_of_one_machine_leaves_the_others_their_answers_and_connections(
    internet: Internet, sprite: Sprite, neighbour: Sprite
) -> None:
    """Questions, datagrams to everywhere, and connections, at once; bounded by the kernel before anybody sees them."""
    sockets = [sprite.machine.make_socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    query = dns.message.make_query("flood.test", "A").to_wire()
    port = iter(range(1024, 1 << 30))

    def connect() -> None:
        with sprite.machine.make_socket(socket.AF_INET, socket.SOCK_STREAM) as made:
            made.setblocking(False)
            made.connect((OTHER, 9))

    floods = (
        lambda: sockets[0].sendto(query, ("198.18.0.1", 53)),
        lambda: sockets[1].sendto(b"x", (OTHER, 1024 + next(port) % 60000)),
        connect,
    )
    with Flood(*floods):
        wait_until(lambda: sprite.networks.report(sprite.member.machine).packets["limited"] > 1000, "it is limited")
        for _ in range(10):
            assert neighbour.machine.addresses("web.test") == [WEB]
            assert neighbour.machine.reaches(WEB)
    for each in sockets:
        each.close()
    wait_until(lambda: sprite.machine.reaches(WEB, timeout_s=2), "the flooder itself has its network back")


def _connected(tried: list[socket.socket]) -> list[socket.socket]:
    poller = select.poll()
    for each in tried:
        poller.register(each, select.POLLOUT)
    ready = {fd for fd, event in poller.poll(0) if event == select.POLLOUT}
    return [each for each in tried if each.fileno() in ready]


def test_connections_at_a_time_are_bounded(internet: Internet, tmp_path: pathlib.Path) -> None:
    from pilot.host.network.plan import Limits

    limits = Limits(connections=20, new_connections_per_s=1000)
    networks = Networks(Settings("0f0f0f0f", limits=limits), str(tmp_path), [nets.DNS])
    networks.start()
    try:
        one = Sprite(networks)
        tried = [one.machine.begin_connecting(WEB, PORT) for _ in range(40)]
        wait_until(lambda: len(_connected(tried)) >= 15, "as many as may be are connected")
        wait_until(lambda: networks.report(one.member.machine).packets["limited"] >= 15, "the others are refused")
        assert len(_connected(tried)) <= 25
        for each in tried:
            each.close()
        one.close()
    finally:
        networks.stop()


# ---- much of it -----------------------------------------------------------------------------------------------------


def test_ten_thousand_rules(internet: Internet, sprite: Sprite) -> None:
    names = [f"host{number}.example{number % 97}.test" for number in range(policy.MOST_RULES - 1)]
    sprite.obey(*names, "web.test")
    assert sprite.machine.addresses("web.test") == [WEB]
    assert sprite.machine.reaches(WEB)
    assert sprite.machine.ask("other.test").rcode() == dns.rcode.REFUSED
    internet.records[names[5000], "A"] = (60, [OTHER])
    assert sprite.machine.addresses(names[5000]) == [OTHER]
    assert sprite.machine.reaches(OTHER)


def test_many_networks_made_and_destroyed_leave_nothing(networks: Networks) -> None:
    """A thousand of them: make network-soak."""
    before = leftovers.observe()
    held = networksoak.observe()
    networksoak.run(networks, 40, first=1000)
    assert leftovers.left_since(before) == {}
    assert networksoak.left_since(held) == {}
    assert not [name for name in os.listdir("/run/netns") if name.startswith("pilot-soak")]
    assert TAG in networks.settings.table
