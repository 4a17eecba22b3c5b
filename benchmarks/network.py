"""Networks of machines: bytes out with a policy, without one, and over plain veths with NAT; names; changes; set-up.

    machine ══ gateway ══ host ══ internet      all namespaces of ours: no card is in the way, and none helps
    plain   ══ router  ══ host ══ internet      the same links, with a masquerade in each and no other rule

The yardsticks are in the same rounds. Names are asked for by one client, one after the other: of the sprite's resolver,
which has them in its cache, and of the upstream resolver itself.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence

import dns.message
from tests.support import internet as nets
from tests.support.internet import WEB, Internet, Machine

from pilot.host.network import policy
from pilot.host.network.plan import Limits, Settings
from pilot.host.network.service import Member, Networks
from pilot.ids import MachineId
from pilot.kernel import netns, nftables

from . import harness
from .harness import Contender, Sample, Table

_TAG = "bebebebe"
_SINK = 9001
_BYTES = 256 << 20
_PIECE = bytes(1 << 18)
_QUESTIONS = 100
_LIMIT_S = 120.0
_ROUTER = "/run/netns/bench-router"
_MASQUERADE = 'table ip plain { chain out { type nat hook postrouting priority srcnat; oifname "%s" masquerade; }; }'
_WEB_ALLOWED = policy.parse({"rules": [{"domain": "web.test", "action": "allow"}]})
_numbers = itertools.count(1)


def run(rounds: int) -> Sequence[Table]:
    with contextlib.ExitStack() as opened:
        internet = opened.enter_context(nets.internet())
        internet.serve_tcp(WEB)
        internet.records["web.test", "A"] = (3600, [WEB])
        _sink(internet)
        # Limits are not what is measured.
        settings = Settings(_TAG, limits=Limits(dns_queries_per_s=1 << 20, new_connections_per_s=1 << 20))
        networks = Networks(settings, opened.enter_context(tempfile.TemporaryDirectory()), [nets.DNS])
        networks.start()
        opened.callback(networks.stop)
        free = opened.enter_context(_machine(networks, policy.Policy()))
        bound = opened.enter_context(_machine(networks, _WEB_ALLOWED))
        plain = opened.enter_context(_plain())
        assert bound.machine.addresses("web.test") == [WEB]
        return [
            _throughput(rounds, free.machine, bound.machine, plain),
            _names(rounds, bound.machine, plain),
            _changes(rounds, networks, bound),
            _set_up(rounds, networks),
        ]


def _throughput(rounds: int, free: Machine, bound: Machine, plain: Machine) -> Table:
    contenders = [
        Contender("with a policy", lambda: _send(bound)),
        Contender("without a policy", lambda: _send(free)),
        Contender("plain veths with NAT", lambda: _send(plain)),
    ]
    samples = harness.interleave(contenders, rounds, 1, _LIMIT_S)
    title = f"{_BYTES >> 20} MiB out by one connection"
    return harness.make_table(title, samples, ["without a policy", "plain veths with NAT"], "wall_ms")


def _names(rounds: int, bound: Machine, plain: Machine) -> Table:
    contenders = [
        Contender("the sprite's resolver", lambda: _ask(bound, "198.18.0.1")),
        Contender("the upstream resolver", lambda: _ask(plain, nets.DNS)),
    ]
    samples = harness.interleave(contenders, rounds, 1, _LIMIT_S)
    return harness.make_table("an allowed name, per question", samples, ["the upstream resolver"], "wall_ms")


def _changes(rounds: int, networks: Networks, one: _One) -> Table:
    """Until a connection that the new policy allows is taken: the other way it would be refused at once."""

    def change() -> Sample:
        began = time.perf_counter()
        one.obey(networks, policy.Policy())
        one.machine.connect(WEB).close()
        in_force = time.perf_counter()
        one.obey(networks, _WEB_ALLOWED)
        return {"wall_ms": (in_force - began) * 1e3}

    samples = harness.interleave([Contender("a policy, in force", change)], rounds, 1, _LIMIT_S)
    return harness.make_table("a change of policy", samples, [], "wall_ms")


def _set_up(rounds: int, networks: Networks) -> Table:
    """A create makes the gateway beside the machine, in a thread: what it waits for is the rest."""

    def gateway() -> Sample:
        member = Member(MachineId(f"bench-{(number := next(_numbers))}"), number)
        began = time.perf_counter()
        networks.ensure(member)
        spent = time.perf_counter() - began
        networks.remove(member.machine, member.number)
        return {"wall_ms": spent * 1e3}

    def link() -> Sample:
        member = Member(MachineId(f"bench-{(number := next(_numbers))}"), number)
        machine = Machine()
        networks.ensure(member)
        began = time.perf_counter()
        networks.connect(member, machine.pid)
        spent = time.perf_counter() - began
        machine.close()
        networks.remove(member.machine, member.number)
        return {"wall_ms": spent * 1e3}

    contenders = [Contender("gateway, rules, policy", gateway), Contender("the machine's link", link)]
    return harness.make_table("set-up of a network", harness.interleave(contenders, rounds, 1, _LIMIT_S), [], "wall_ms")


# ---- the namespaces -------------------------------------------------------------------------------------------------


class _One:
    """A machine in its network."""

    def __init__(self, member: Member, machine: Machine) -> None:
        self.member, self.machine = member, machine

    def obey(self, networks: Networks, wanted: policy.Policy) -> None:
        self.member = Member(self.member.machine, self.member.number, wanted, self.member.serial + 1)
        networks.enforce(self.member)


@contextlib.contextmanager
def _machine(networks: Networks, wanted: policy.Policy) -> Iterator[_One]:
    number = next(_numbers)
    made = _One(Member(MachineId(f"bench-{number}"), number, wanted), Machine())
    networks.ensure(made.member)
    networks.connect(made.member, made.machine.pid)
    yield made
    made.machine.close()
    networks.remove(made.member.machine, number)


@contextlib.contextmanager
def _plain() -> Iterator[Machine]:
    """Links and addresses as a gateway has them, and nothing but a masquerade in the router and on the host."""
    machine = Machine()
    netns.ensure(_ROUTER)
    for command in (
        "ip link add name plain0 type veth peer name out netns bench-router",
        "ip addr add 172.31.0.1/30 dev plain0",
        "ip link set plain0 up",
        "ip -n bench-router addr add 172.31.0.2/30 dev out",
        "ip -n bench-router link set out up",
        "ip -n bench-router route add default via 172.31.0.1",
        f"ip -n bench-router link add name in type veth peer name eth0 netns {machine.pid}",
        "ip -n bench-router addr add 172.31.0.5/30 dev in",
        "ip -n bench-router link set in up",
        f"nsenter -t {machine.pid} -n ip addr add 172.31.0.6/30 dev eth0",
        f"nsenter -t {machine.pid} -n ip link set eth0 up",
        f"nsenter -t {machine.pid} -n ip route add default via 172.31.0.5",
        "ip netns exec bench-router sysctl -q -w net.ipv4.ip_forward=1",
    ):
        subprocess.run(command.split(), check=True)
    nftables.run(_MASQUERADE % "out", _ROUTER)
    nftables.run(_MASQUERADE % "far0")
    yield machine
    nftables.run("delete table ip plain")
    subprocess.run(["ip", "link", "del", "plain0"], check=True)
    machine.close()
    netns.remove(_ROUTER)


def _sink(internet: Internet) -> None:
    """Whoever connects may send; at the end it is told that all has come."""
    listener = internet.bound(socket.SOCK_STREAM, WEB, _SINK)
    listener.listen(8)

    def swallow(connection: socket.socket) -> None:
        buffer = bytearray(1 << 20)
        with connection:
            while connection.recv_into(buffer):
                pass
            connection.sendall(b".")

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # it is over
            threading.Thread(target=swallow, args=(connection,), name="sink", daemon=True).start()

    threading.Thread(target=serve, name="sinks", daemon=True).start()


def _send(machine: Machine) -> Sample:
    with machine.connect(WEB, _SINK) as connection:
        began = time.perf_counter()
        for _ in range(_BYTES // len(_PIECE)):
            connection.sendall(_PIECE)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b"."
        return {"wall_ms": (time.perf_counter() - began) * 1e3}


def _ask(machine: Machine, server: str) -> Sample:
    query = dns.message.make_query("web.test", "A").to_wire()
    with machine.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(nets.WAIT_S)
        datagrams.connect((server, 53))
        began = time.perf_counter()
        for _ in range(_QUESTIONS):
            datagrams.send(query)
            datagrams.recv(4096)
        return {"wall_ms": (time.perf_counter() - began) * 1e3 / _QUESTIONS}
