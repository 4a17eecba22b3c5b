"""Where no machine may go, unless the operator says so: everything that is not the public Internet. Pure.

The host's own addresses are not listed: what arrives from a gateway for the host itself is dropped there, whatever the
host's addresses are at that moment.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable

from .addresses import Address, Network

# IANA's registries of special-purpose addresses, without what is for documentation (nobody has those).
_NEVER = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
    "::/96", "::ffff:0:0/96",  # in these, and in the next, an IPv4 address is hidden
    "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16",
    "100::/64", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)  # fmt: skip
_NETWORKS = tuple(ipaddress.ip_network(text) for text in _NEVER)


@dataclasses.dataclass(frozen=True)
class Never:
    """`allowed`: the exceptions that the operator makes; `own`: the host's range, which has none."""

    allowed: tuple[Network, ...] = ()
    own: tuple[Network, ...] = ()

    @property
    def networks(self) -> tuple[Network, ...]:
        """Without the exceptions taken out."""
        return (*_NETWORKS, *self.own)

    def __contains__(self, address: Address) -> bool:
        """Whether it is one of those."""
        if _within(address, self.own):
            return True
        return not _within(address, self.allowed) and _within(address, _NETWORKS)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
