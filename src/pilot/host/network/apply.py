"""Plans carried out: namespaces, links and addresses by rtnetlink, rules by libnftables. Everything may be repeated.

    try_all            whether this kernel has what the others need
    ensure_host        forwarding, the host's table
    ensure_gateway     namespace ─ sysctls ─ rules (one transaction, closed) ─ uplink, which comes last: no link, no way
    connect            the machine's namespace gets eth0; the gateway's end is made anew with it
    connect_tap        a tap in the gateway instead, for a VM; the caller owns its descriptor
    set_peers          whom the machine may see; gateway and host
    remove_gateway     the uplink, and the name of the namespace: what is in it goes with it

A crash between two lines leaves a gateway that lets nothing through, or none; the next `ensure_gateway` finishes it.
Everything raises `HostError`.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ... import errors
from ...ids import MachineId
from ...kernel import netns, nftables, rtnetlink, tap
from . import ruleset
from .addresses import Address
from .plan import (
    GATEWAY_SYSCTLS,
    HOST_SYSCTLS,
    INSIDE,
    INSIDE_INDEX,
    MACHINE_INDEX,
    MACHINE_LINK,
    MACHINE_SYSCTLS,
    NAMED,
    OUTSIDE,
    OUTSIDE_INDEX,
    Gateway,
    Settings,
)


def try_all(settings: Settings) -> None:
    """This kernel takes our rules and links, in a network namespace that is gone when this returns. Without root it is
    refused, too."""
    gateway = Gateway(MachineId("tried"), 1, settings)

    def attempt() -> None:
        nftables.run(ruleset.host_script(settings))
        nftables.run(ruleset.gateway_script(gateway))
        _send([rtnetlink.add_veth(rtnetlink.End(OUTSIDE, OUTSIDE_INDEX), rtnetlink.End(INSIDE, INSIDE_INDEX))])

    with _refusals("try networks"):
        netns.in_new(attempt)


def ensure_host(settings: Settings) -> None:
    """This host forwards, and its table is in force. An interface that learns its routes goes on learning them."""
    with _refusals("prepare the host's network"):
        _keep_router_advertisements()
        _write_sysctls(HOST_SYSCTLS)
        nftables.run(ruleset.host_script(settings))


def remove_host(settings: Settings) -> None:
    """The host's table is gone. Forwarding stays: others may rely on it by now."""
    table = f"inet {settings.table}"
    nftables.run(f"add table {table}\ndelete table {table}\n")


def ensure_gateway(gateway: Gateway) -> bool:
    """It is there and linked to the host; whether its rules were made now, and so let nothing through.

    `Conflict`: somebody else on this host, as another pilotd with the same range, has the addresses of this number.
    """
    with _refusals(f"prepare the gateway of machine {gateway.machine}"):
        netns.ensure(gateway.path)
        host_fd = os.open(netns.CURRENT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            renewed = _ensure_rules(gateway)
            netns.inside(gateway.path, lambda: _ensure_uplink(gateway, host_fd))
        finally:
            os.close(host_fd)
        _number_uplink(gateway)
        return renewed


def connect(gateway: Gateway, machine_pid: int) -> None:
    """The network namespace of that process gets `eth0`, up, with addresses and default routes."""
    with _refusals(f"connect machine {gateway.machine}"):
        namespace = f"/proc/{machine_pid}/ns/net"
        machine_fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            netns.inside(gateway.path, lambda: _link_machine(gateway, machine_fd))
        finally:
            os.close(machine_fd)
        netns.inside(namespace, lambda: _settle_machine(gateway))


def is_connected(gateway: Gateway) -> bool:
    """Whether there is a link to the machine."""
    return netns.inside(gateway.path, lambda: _has_link(INSIDE))


def connect_tap(gateway: Gateway) -> int:
    """A descriptor of the tap `inside`, made anew, with headers for offloads."""
    with _refusals(f"connect machine {gateway.machine}"):
        return netns.inside(gateway.path, lambda: _make_tap(gateway))


def set_peers(gateway: Gateway, peers: Sequence[Address]) -> None:
    """Those are the addresses of its machine's peers, and no others. What was with others ends with its next packet."""
    with _refusals(f"tell the gateway of machine {gateway.machine} its peers"):
        nftables.run(ruleset.peers_script(peers), gateway.path)
        _set_peered(gateway, bool(peers))


def forget_peers(gateway: Gateway) -> None:
    """Its machine has none any more, for the host; the gateway itself may have gone."""
    with _refusals(f"forget the peers of machine {gateway.machine}"):
        _set_peered(gateway, False)


def _set_peered(gateway: Gateway, has_peers: bool) -> None:
    own = [ends.near.ip for ends in gateway.uplink]
    nftables.run(ruleset.peered_script(gateway.settings, own, has_peers))


def remove_gateway(machine: MachineId, uplink_name: str | None) -> None:
    """Nothing of it is left, but what a process of the machine still holds: its own end of the link goes, too."""
    with _refusals(f"remove the gateway of machine {machine}"):
        path = gateway_path(machine)
        if netns.is_named(path):
            # At once, and not when the kernel comes to it: the next one with this number may follow.
            netns.inside(path, lambda: _send([rtnetlink.delete_link(INSIDE), rtnetlink.delete_link(OUTSIDE)]))
        netns.remove(path)
        if uplink_name is not None:
            _send([rtnetlink.delete_link(uplink_name)])


def gateway_path(machine: MachineId) -> str:
    """Where the namespace of that machine's gateway is mounted."""
    return f"{NAMED}/pilot-{machine}"


# ---- inside of the gateway ------------------------------------------------------------------------------------------


def _ensure_rules(gateway: Gateway) -> bool:
    """Whether they were made now."""
    script, version = ruleset.versioned(ruleset.gateway_script(gateway))
    listed = json.loads(nftables.query("list chains", gateway.path))["nftables"]
    if version in {entry["chain"]["name"] for entry in listed if "chain" in entry}:
        return False
    netns.inside(gateway.path, lambda: _write_sysctls(GATEWAY_SYSCTLS))
    nftables.run(script, gateway.path)
    return True


def _ensure_uplink(gateway: Gateway, host_fd: int) -> None:
    """One with other addresses (of another range, or half made) goes, and the link to the machine with it."""
    wanted = {ends.near.ip for ends in gateway.uplink}
    has = {address for index, address in _every_address() if index == OUTSIDE_INDEX}
    if not _has_link(OUTSIDE) or not wanted <= has:
        stale = [rtnetlink.delete_link(INSIDE), rtnetlink.delete_link(OUTSIDE)]
        _send([*stale, *_uplink_requests(gateway, host_fd)])


def _every_address() -> Iterator[tuple[int, Address]]:
    """With the number of the link that it is of."""
    with rtnetlink.Route() as route:
        for _, body in route.dump(rtnetlink.GETADDR, rtnetlink.ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            values = dict(rtnetlink.attributes(body[rtnetlink.ADDRESS.size :]))
            # Of a link between two points that is IFA_LOCAL; without it they are the same.
            packed = values.get(rtnetlink.IFA_LOCAL) or values[rtnetlink.IFA_ADDRESS]
            yield rtnetlink.ADDRESS.unpack_from(body)[4], ipaddress.ip_address(packed)


def _uplink_requests(gateway: Gateway, host_fd: int) -> list[rtnetlink.Request]:
    near, far = rtnetlink.End(OUTSIDE, OUTSIDE_INDEX), rtnetlink.End(gateway.uplink_name, 0, host_fd)
    requests = [rtnetlink.raise_link("lo"), rtnetlink.add_veth(near, far)]
    requests += [rtnetlink.add_address(OUTSIDE_INDEX, ends.near) for ends in gateway.uplink]
    return requests + [rtnetlink.add_default_route(OUTSIDE_INDEX, ends.far.ip) for ends in gateway.uplink]


def _link_machine(gateway: Gateway, machine_fd: int) -> None:
    near, far = rtnetlink.End(INSIDE, INSIDE_INDEX), rtnetlink.End(MACHINE_LINK, MACHINE_INDEX, machine_fd)
    requests = [rtnetlink.delete_link(INSIDE), rtnetlink.add_veth(near, far)]
    _send(requests + [rtnetlink.add_address(INSIDE_INDEX, ends.near) for ends in gateway.inside])


def _make_tap(gateway: Gateway) -> int:
    if _has_link(INSIDE):
        _send([rtnetlink.delete_link(INSIDE)])
    tap_fd = tap.make(INSIDE)
    try:
        index = socket.if_nametoindex(INSIDE)
        _send([rtnetlink.raise_link(INSIDE), *(rtnetlink.add_address(index, ends.near) for ends in gateway.inside)])
    except BaseException:
        os.close(tap_fd)
        raise
    return tap_fd


# ---- inside of the machine, and on the host -------------------------------------------------------------------------


def _settle_machine(gateway: Gateway) -> None:
    _write_sysctls(MACHINE_SYSCTLS)
    _send(_machine_requests(gateway))


def _machine_requests(gateway: Gateway) -> list[rtnetlink.Request]:
    requests = [rtnetlink.raise_link("lo"), rtnetlink.raise_link(MACHINE_LINK)]
    requests += [rtnetlink.add_address(MACHINE_INDEX, ends.far) for ends in gateway.inside]
    return requests + [rtnetlink.add_default_route(MACHINE_INDEX, ends.near.ip) for ends in gateway.inside]


def _number_uplink(gateway: Gateway) -> None:
    """Each time: whoever made the link may not have come so far.

    The kernel lets two links have one address, and answers to one machine go to the other then. The route to the
    gateway's end is what only one of them can have.
    """
    index = socket.if_nametoindex(gateway.uplink_name)
    addresses = [rtnetlink.add_address(index, ends.far, prefix_route=False) for ends in gateway.uplink]
    with rtnetlink.Route() as route:
        route.send([rtnetlink.raise_link(gateway.uplink_name), *addresses])
        for ends in gateway.uplink:
            _claim(route, index, gateway, ends.near.ip)


def _claim(route: rtnetlink.Route, index: int, gateway: Gateway, address: Address) -> None:
    try:
        route.send([rtnetlink.claim_address(index, address)])
    except FileExistsError as error:
        if route.link_towards(address) != index:
            route.send([rtnetlink.delete_link(gateway.uplink_name)])
            taken = f"number machine {gateway.machine}: somebody else on this host has {address}"
            raise errors.Conflict(taken, hint="see --network-range") from error


def taken_numbers(settings: Settings) -> frozenset[int]:
    """The numbers whose addresses links of this host have that are not ours."""
    ours = {index for index, name in socket.if_nameindex() if name.startswith(settings.uplinks)}
    found = {settings.range.number_of(address) for index, address in _every_address() if index not in ours}
    return frozenset(number for number in found if number is not None)


def _keep_router_advertisements() -> None:
    """Where IPv6 is forwarded, 1 means that none are listened to any more; 2 means all the same."""
    directory = "/proc/sys/net/ipv6/conf"
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
        if _read(f"{directory}/{name}/accept_ra") == "1" and _read(f"{directory}/{name}/forwarding") == "0":
            _write_sysctls([(f"net/ipv6/conf/{name}/accept_ra", "2")])


def _write_sysctls(values: Sequence[tuple[str, str]]) -> None:
    for name, value in values:
        path = f"/proc/sys/{name}"
        if _read(path) == value:
            continue  # /proc/sys may be read-only where it is right already
        with open(path, "w") as file:
            file.write(value)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def _has_link(name: str) -> bool:
    return name in {found for _, found in socket.if_nameindex()}


def _send(requests: Sequence[rtnetlink.Request]) -> None:
    with rtnetlink.Route() as route:
        route.send(requests)


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "load the module veth, or tun" if error.errno in {errno.EOPNOTSUPP, errno.ENODEV} else None
        raise errors.HostError(f"{what}: {(error.strerror or str(error)).lower()}", hint=hint) from error
