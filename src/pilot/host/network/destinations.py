"""Where pilotd goes for tenants (webhooks, registries): where sprites may, and not to this host; beyond that where the
operator says.

Whoever may make a webhook or name an image makes pilotd connect, which stands inside of walls that sprites are kept out
by. So an address is decided on, not a name, and it is the one that is connected to: a name may mean another the next
moment.
"""

from __future__ import annotations

import dataclasses
import errno
import ipaddress
import socket

from .addresses import Address, Network
from .never import Never

_ANY_PORT = 9


@dataclasses.dataclass(frozen=True)
class Destinations:
    """`never`: where no sprite may go; `allowed`: the operator's exceptions; `only_allowed`: sprites may go nowhere."""

    never: Never
    allowed: tuple[Network, ...] = ()
    only_allowed: bool = False

    def permits(self, address: Address) -> bool:
        """Also asks the kernel whether the address is this host's."""
        if any(address.version == network.version and address in network for network in self.allowed):
            return True
        return not self.only_allowed and address not in self.never and not _is_own(address)


def _is_own(address: Address) -> bool:
    """Towards an address of its own a host sends from that address. No packet is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:  # ipv6.disable=1: there is no way to it either
            return False
        raise
    with opened as probe:
        try:
            probe.connect((str(address), _ANY_PORT))
        except OSError:
            return False  # there is no way to it, which who connects is told
        return ipaddress.ip_address(str(probe.getsockname()[0])) == address
