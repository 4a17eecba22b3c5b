"""The world's network: a namespace of its own, owned by its user namespace, with the machine's card in it.

    machine's namespace          world's namespace (new with each world, and gone with it)
      eth0 ──at its creation──►    eth0: addresses, default routes, sysctls     between its creation and its start
                                   whatever the world's root makes of it

What the machine may reach is decided beyond the card, where nobody in the machine has a say. So the world's root may
have its own network: bridges, rules, tunnels. As long as no world has the card, the machine's other containers do. One
that the world's end has taken along, as it does with half of a veth pair, is the orchestrator's to make anew; that of a
VM comes back by itself, a moment later.
"""

from __future__ import annotations

import os
import socket
import time

import msgspec

from ..kernel import files, rtnetlink, visit
from ..wire import faults, schema

CARD = "eth0"
BACK_S = 10.0
_POLL_S = 0.01
# A person who is not root expects to ping, and to serve port 80. The groups are all that a world has.
_SYSCTLS = (("net/ipv4/ping_group_range", "0\t65535"), ("net/ipv4/ip_unprivileged_port_start", "0"))


def check(network: schema.NetworkCard) -> None:
    """`InvalidRequest` for what are no addresses."""
    try:
        _parse(network)
    except ValueError as error:
        raise faults.InvalidRequest(f"network: {error}") from error


def tell(directory: str, network: schema.NetworkCard) -> None:
    """The world may read which policy it is under. `OSError`."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    files.replace(os.path.join(directory, "network.json"), msgspec.json.encode(network.policy) + b"\n", mode=0o644)


def tell_privileges(directory: str, privileges: schema.Privileges) -> None:
    """And which privileges. `OSError`."""
    files.replace(os.path.join(directory, "privileges.json"), msgspec.json.encode(privileges) + b"\n", mode=0o644)


def tell_size(directory: str, memory_bytes: int | None) -> None:
    """And how much memory it has, as the API tells it; nothing where nobody knows. `OSError`."""
    told = {} if memory_bytes is None else {"limit_mb": memory_bytes >> 20}
    files.replace(os.path.join(directory, "resources.json"), msgspec.json.encode({"memory": told}) + b"\n", mode=0o644)


def find_card(expected: bool) -> str | None:
    """The card's name in our namespace. One that is `expected` may be on its way back: None when it does not come."""
    deadline = time.monotonic() + (BACK_S if expected else 0)
    while (name := _card()) is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return name


def _card() -> str | None:
    """`eth0`; else a device that is no invention of the kernel's, whatever the last world has called it."""
    names = [name for _, name in socket.if_nameindex()]
    real = [name for name in names if os.path.exists(f"/sys/class/net/{name}/device")]
    return CARD if CARD in names else next(iter(real), None)


def settle(pid: int, network: schema.NetworkCard | None) -> None:
    """The network namespace of `pid` is as a program expects it. `OSError`."""
    visit.visit(pid, visit.Namespace.NETWORK, lambda: _settle(network))


def _settle(network: schema.NetworkCard | None) -> None:
    for name, value in _SYSCTLS:
        with open(f"/proc/sys/{name}", "w") as file:
            file.write(value)
    if network is not None:
        address(network)


def address(network: schema.NetworkCard) -> None:
    """The card in our namespace, where it is there, is up, with its addresses and routes. `OSError`."""
    if CARD not in {name for _, name in socket.if_nameindex()}:
        return
    addresses, gateways = _parse(network)
    index = socket.if_nametoindex(CARD)
    with rtnetlink.Route() as route:
        route.send(
            [
                rtnetlink.raise_link(CARD),
                *(rtnetlink.add_address(index, address) for address in addresses),
                *(rtnetlink.add_default_route(index, gateway) for gateway in gateways),
            ]
        )


def _parse(network: schema.NetworkCard) -> tuple[list[rtnetlink.Interface], list[rtnetlink.Address]]:
    """`ValueError`."""
    import ipaddress  # late: a tenth of what the agent imports

    addresses = [ipaddress.ip_interface(text) for text in network.addresses]
    return addresses, [ipaddress.ip_address(text) for text in network.gateways]
