"""The machine's network as it is: links, addresses, routes, ports. Pure but for `read`, which asks the kernel."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Mapping

from ..kernel import kernfs, listening, rtnetlink
from ..wire import facts
from ..wire.schema import Port

_UP = 0x1
_ROUTE_UP = 0x1
_ROUTE_LOCAL = 0x80000000


def read() -> facts.Network:
    """Of our network namespace: without the card and the ports that a world has. Blocks for a moment."""
    with rtnetlink.Route() as route:
        addresses = parse_addresses(route)
    names = sorted(os.listdir("/sys/class/net"))
    rows = listening.read_listening(os.getpid())
    owners = listening.find_owners({row.inode for row in rows})
    ports = {(row.port, row.address): owners.get(row.inode, 0) for row in rows}
    return facts.Network(
        interfaces=[_interface(name, addresses) for name in names if os.path.isdir(f"/sys/class/net/{name}")],
        routes=[
            *parse_routes(kernfs.read("/proc/self/net/route")),
            *parse_routes6(kernfs.read_or_none("/proc/self/net/ipv6_route") or ""),
        ],
        ports=[Port(port=port, address=address, pid=pid) for (port, address), pid in sorted(ports.items())],
    )


def parse_addresses(route: rtnetlink.Route) -> dict[int, list[str]]:
    """By the number of the link, with their prefix."""
    found: dict[int, list[str]] = {}
    everything = rtnetlink.ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    for kind, body in route.dump(rtnetlink.GETADDR, everything):
        if kind != rtnetlink.NEWADDR:
            continue
        _, prefix, _, _, index = rtnetlink.ADDRESS.unpack_from(body)
        values = dict(rtnetlink.attributes(body[rtnetlink.ADDRESS.size :]))
        # Of a point-to-point link IFA_ADDRESS is the other end's.
        own = values.get(rtnetlink.IFA_LOCAL) or values[rtnetlink.IFA_ADDRESS]
        found.setdefault(index, []).append(f"{ipaddress.ip_address(own)}/{prefix}")
    return found


def parse_routes(text: str) -> list[facts.RouteRow]:
    """/proc/net/route: numbers are in the machine's byte order."""
    found = []
    for line in text.splitlines()[1:]:
        name, destination, gateway, flags, _, _, metric, mask = line.split()[:8]
        if int(flags, 16) & _ROUTE_UP:
            net = ipaddress.ip_network(f"{_address(destination)}/{_address(mask)}")
            way = None if gateway == "00000000" else _address(gateway)
            found.append(facts.RouteRow(destination=str(net), interface=name, gateway=way, metric=int(metric)))
    return found


def parse_routes6(text: str) -> list[facts.RouteRow]:
    """/proc/net/ipv6_route, without the kernel's own ones."""
    found = []
    for line in text.splitlines():
        destination, prefix, _, _, gateway, metric, _, _, flags, name = line.split()
        if not int(flags, 16) & _ROUTE_UP or int(flags, 16) & _ROUTE_LOCAL or name == "lo":
            continue
        net = ipaddress.IPv6Network((int(destination, 16), int(prefix, 16)))
        way = None if int(gateway, 16) == 0 else str(ipaddress.IPv6Address(int(gateway, 16)))
        found.append(facts.RouteRow(destination=str(net), interface=name, gateway=way, metric=int(metric, 16)))
    return found


def _address(word: str) -> str:
    return socket.inet_ntoa(struct.pack("=I", int(word, 16)))


def _interface(name: str, addresses: Mapping[int, list[str]]) -> facts.Interface:
    def value(file: str) -> str:
        return (kernfs.read_or_none(f"/sys/class/net/{name}/{file}") or "0").strip()

    index = int(value("ifindex"))
    return facts.Interface(
        name=name,
        index=index,
        up=bool(int(value("flags"), 16) & _UP),
        mtu=int(value("mtu")),
        hardware_address=value("address"),
        addresses=sorted(addresses.get(index, [])),
    )
