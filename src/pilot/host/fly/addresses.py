"""The addresses that apps have of their own on this host, so that each has all ports: numbers of one network. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress

from ... import errors

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Every address of 127.0.0.0/8 is this host's already.
DEFAULT = "127.80.0.0/16"
_MOST = 1 << 16


@dataclasses.dataclass(frozen=True)
class Range:
    """From 1 to `capacity`; what is no host's address is left out, where there is room for that."""

    network: Network

    @property
    def _is_whole(self) -> bool:
        return self.network.num_addresses <= 2

    @property
    def capacity(self) -> int:
        return min(self.network.num_addresses - (0 if self._is_whole else 2), _MOST)

    def address(self, number: int) -> Address:
        return self.network.network_address + (number - 1 if self._is_whole else number)


def parse_range(text: str) -> Range:
    """`PilotError` for what is no network."""
    try:
        return Range(ipaddress.ip_network(text))
    except ValueError as error:
        raise errors.PilotError(f"--service-addresses: {error}", hint=f"as {DEFAULT}") from error
