"""Addresses of machines: a range of the host's, cut up by number. Pure.

    198.18.0.0/15   +0..3          the link between any gateway and its machine: .1 and .2, the same for all
                    +4, +5         number 1: the host's end of its uplink, the gateway's end (/31)
                    +6, +7         number 2 …

IPv6 likewise (/126, /127). A gateway translates the machine's address into its own, so that machines are told apart by
the gateway's end, and a machine, or the template of one, may be told its address before it has a number.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress

from ... import errors

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# For measurements between networks (RFC 2544): nobody's on the Internet, and seldom anybody's at home. The other is a
# unique local one (RFC 4193).
DEFAULT_RANGE = "198.18.0.0/15,fd70:696c:6f74::/64"
_FIRST = 4
MOST = (1 << 20) - 1  # five hexadecimal digits, in the name of a link


@dataclasses.dataclass(frozen=True)
class Ends:
    """Both ends of a link: `near` is the gateway's."""

    near: Interface
    far: Interface


@dataclasses.dataclass(frozen=True)
class Range:
    """What a host numbers its machines from; `networks` are of different versions."""

    networks: tuple[Network, ...]

    @property
    def capacity(self) -> int:
        """How many machines can have a number at a time."""
        return min(MOST, *((network.num_addresses - _FIRST) // 2 for network in self.networks))

    def inside(self) -> tuple[Ends, ...]:
        """The link between a gateway and its machine, for each version."""
        return _inside(self.networks)

    def uplink(self, number: int) -> tuple[Ends, ...]:
        """The link between the host and the gateway with that number (from 1)."""
        if not 1 <= number <= self.capacity:
            raise errors.HostError(f"number {number} is outside of the network range", hint="see --network-range")
        first = _FIRST + 2 * (number - 1)
        return tuple(_ends(network, first + 1, first, 1) for network in self.networks)

    def number_of(self, address: Address) -> int | None:
        """Of the uplink that the address belongs to; None when it is of none."""
        for network in self.networks:
            if address.version == network.version and address in network:
                number = (int(address) - int(network.network_address) - _FIRST) // 2 + 1
                return number if 1 <= number <= self.capacity else None
        return None


@functools.cache
def _inside(networks: tuple[Network, ...]) -> tuple[Ends, ...]:
    """Asked for each machine that is told of."""
    return tuple(_ends(network, 1, 2, 2) for network in networks)


def _ends(network: Network, near: int, far: int, bits: int) -> Ends:
    prefix = network.max_prefixlen - bits
    return Ends(*(ipaddress.ip_interface(f"{network[offset]}/{prefix}") for offset in (near, far)))


def parse_range(text: str) -> Range:
    """`198.18.0.0/15`, or with one of IPv6 behind a comma. `PilotError` says what is wrong with it."""
    networks = tuple(parse_network(part) for part in text.split(","))
    if sorted(network.version for network in networks) not in ([4], [4, 6]):
        raise errors.PilotError(f"network range {text!r}: one IPv4 network, and at most one of IPv6, are needed")
    if of_host := [str(one) for one in networks if one.is_loopback or one.is_multicast or one.is_unspecified]:
        raise errors.PilotError(f"network range {text!r}: machines have no addresses of {', '.join(of_host)}")
    found = Range(tuple(sorted(networks, key=lambda network: network.version)))
    if found.capacity < 1:
        raise errors.PilotError(f"network range {text!r}: too small for a machine", hint="a /29 holds two")
    return found


def parse_network(text: str) -> Network:
    """`10.0.0.0/8` or a single address. `PilotError` for anything else."""
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise errors.PilotError(f"network {text!r}: {str(error).lower()}") from error
