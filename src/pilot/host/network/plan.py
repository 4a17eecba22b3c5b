"""What a host and a gateway are to be like, as values; `describe()` says it before anything happens. Pure.

A `Settings` is the operator's and the same for all; a `Gateway` is one machine's. Names of links are the same in every
gateway: `outside` towards the host, `inside` towards the machine, which calls its end `eth0`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ... import errors
from ...ids import MachineId
from .addresses import DEFAULT_RANGE, Ends, Network, Range, parse_range
from .never import Never
from .policy import Egress

OUTSIDE, INSIDE, MACHINE_LINK = "outside", "inside", "eth0"
OUTSIDE_INDEX, INSIDE_INDEX, MACHINE_INDEX = 2, 3, 2
NAMED = "/run/netns"  # where ip-netns(8) looks
DNS_PORT, TLS_PORT = 53, 443
MTU = 1500


@dataclasses.dataclass(frozen=True)
class Limits:
    """Of one machine. Rates are per second, with a burst of twice that. `bytes_per_s`: each way; None has no limit."""

    connections: int = 8192
    new_connections_per_s: int = 500
    dns_queries_per_s: int = 50
    bytes_per_s: int | None = None


_LIMITS = {
    "connections": "connections",
    "new-connections": "new_connections_per_s",
    "dns-queries": "dns_queries_per_s",
    "bytes": "bytes_per_s",
}
LIMIT_NAMES = tuple(_LIMITS)
_MOST = 1 << 40


def parse_limits(texts: Iterable[str]) -> Limits:
    """`connections=8192`, `bytes=12500000` …, over what there is without; `PilotError` for what is none."""
    given: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if name not in _LIMITS:
            raise errors.PilotError(f"network limit {text!r}: there is none of that name", hint=", ".join(_LIMITS))
        if not (number.isascii() and number.isdigit() and 0 < int(number) <= _MOST):
            raise errors.PilotError(f"network limit {text!r}: not a number from 1 to {_MOST}")
        given[_LIMITS[name]] = int(number)
    return dataclasses.replace(Limits(), **given)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The operator's. `tag` tells this pilotd's links and tables from those of others on the host.

    `allowed`: networks of others that machines may reach though they are not public.
    """

    tag: str
    range: Range = dataclasses.field(default_factory=lambda: parse_range(DEFAULT_RANGE))
    egress: Egress = Egress.OPEN
    allowed: tuple[Network, ...] = ()
    limits: Limits = Limits()

    @property
    def never(self) -> Never:
        """Where no machine may go."""
        return Never(self.allowed, self.range.networks)

    @property
    def uplinks(self) -> str:
        """What the names of all uplinks begin with, on the host."""
        return f"pn{self.tag}"

    @property
    def table(self) -> str:
        """The host's table of nftables."""
        return f"pilot_{self.tag}"


@dataclasses.dataclass(frozen=True)
class Gateway:
    """One machine's, with the number that the store gave it."""

    machine: MachineId
    number: int
    settings: Settings

    @property
    def path(self) -> str:
        """Its namespace."""
        return f"{NAMED}/pilot-{self.machine}"

    @property
    def uplink_name(self) -> str:
        """Of the host's end: 15 characters at most."""
        return f"{self.settings.uplinks}{self.number:x}"

    @property
    def uplink(self) -> tuple[Ends, ...]:
        return self.settings.range.uplink(self.number)

    @property
    def inside(self) -> tuple[Ends, ...]:
        return self.settings.range.inside()

    def describe(self) -> str:
        """A line for each link, address and route."""
        lines = [f"namespace {self.path}", f"veth {self.uplink_name} (host) = {OUTSIDE} (gateway)"]
        for ends in self.uplink:
            lines += [f"address {ends.far} on {self.uplink_name}", f"address {ends.near} on {OUTSIDE}"]
            lines += [f"gateway: default by {ends.far.ip}"]
        lines += [f"veth or tap {INSIDE} (gateway) = {MACHINE_LINK} (machine)"]
        for ends in self.inside:
            lines += [f"address {ends.near} on {INSIDE}", f"address {ends.far} on {MACHINE_LINK}"]
            lines += [f"machine: default by {ends.near.ip}"]
        return "\n".join(lines)


# Written in the gateway's namespace. It routes between two links and believes nobody.
GATEWAY_SYSCTLS: tuple[tuple[str, str], ...] = (
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv4/conf/default/accept_source_route", "0"),
    ("net/ipv4/conf/all/rp_filter", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/all/accept_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
)
# In the machine's: whoever is root in its world has no privileges over it, and expects to ping and to serve port 80.
MACHINE_SYSCTLS: tuple[tuple[str, str], ...] = (
    ("net/ipv4/ping_group_range", "0\t2147483647"),
    ("net/ipv4/ip_unprivileged_port_start", "0"),
)
HOST_SYSCTLS: tuple[tuple[str, str], ...] = (("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1"))
