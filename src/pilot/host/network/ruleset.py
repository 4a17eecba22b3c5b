"""The scripts of nftables: the host's table, a gateway's table, and what a policy puts into it. Pure, and printable.

gateway, table inet pilot

    prerouting  raw      from inside with another source than the machine's: dropped
    prerouting  dstnat   port 53 of anybody ─► the resolver's socket, here
                         from a peer: what is for the gateway's address ─► the machine
    input                from inside: port 53, 443 (connectors, where there are any) and echo; else nothing
                         from outside: what connectors have begun
    forward              inside ► outside   may it ever? ─ is it new? limits ─ policy ─ refused, and told so
                         outside ► inside   answers ─ policy; and whatever a peer has begun
    postrouting srcnat   the machine's address ─► the gateway's

The chain `judge` and the sets that it reads are the only parts that change while a machine runs. They are numbered: a
policy has a number (`Zone.mark`), in the names of its sets and as the mark on each connection that it has let through.
A new policy has another, so every connection is judged again by its next packet, in either direction, and the
change is one transaction. A connection with the present mark goes on though the address that it was made to has
expired since. The first policy of a gateway lets nothing through; the resolver puts the sprite's in.

Peers are machines in the same private network. Each gateway has the addresses of its machine's peers, without whom the
other is not reached, and not let in; between the two the host lets pass what is from and to gateways that have peers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import socket
from collections.abc import Iterable, Mapping

from .addresses import Address
from .plan import DNS_PORT, INSIDE, OUTSIDE, TLS_PORT, Gateway, Limits, Settings

TABLE = "inet pilot"
PEERS, PEERED = "peers", "peered"  # sets: of a gateway, and of the host
CONNECTOR_STREAMS = 64
_DIGEST = "version_"
_FAMILY = {4: "ip", 6: "ip6"}
# By number: libnftables has their names from /etc/protocols, which not every host has.
_TCP, _UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
_PASSED = f"{_TCP}, {_UDP}, {socket.IPPROTO_ICMP}, {socket.IPPROTO_ICMPV6}"


def versioned(script: str) -> tuple[str, str]:
    """The script with an empty chain whose name is its digest, and that name: whether it is in force can be asked."""
    name = _DIGEST + hashlib.sha256(script.encode()).hexdigest()[:16]
    return f"{script}add chain {TABLE} {name}\n", name


def host_script(settings: Settings) -> str:
    """The host's table, made anew. It speaks of traffic from and to our uplinks, and of nothing else.

    What comes from a gateway for the host itself is dropped before anybody's DNAT could send it elsewhere; after any,
    it may go to no network that `never` has. Gateways reach each other only where both have peers.
    """
    uplinks = f'"{settings.uplinks}*"'
    return f"""\
add table inet {settings.table}
delete table inet {settings.table}
table inet {settings.table} {{
{_never_sets(settings)}
{_address_sets(PEERED)}
  chain arrive {{
    type filter hook prerouting priority raw; policy accept;
    iifname {uplinks} jump from_gateway
  }}
  chain from_gateway {{
    {_NEIGHBOURS}
    fib saddr . iif oif missing drop
    fib daddr type {{ local, broadcast, multicast, anycast }} drop
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname {uplinks} jump to_host
  }}
  chain to_host {{
    {_NEIGHBOURS}
    drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname {uplinks} jump outbound
    oifname {uplinks} jump inbound
  }}
  chain outbound {{
    oifname {uplinks} goto between
{_never_rules("drop")}
  }}
  chain between {{
    ct state established,related accept
    ip saddr @{PEERED}4 ip daddr @{PEERED}4 accept
    ip6 saddr @{PEERED}6 ip6 daddr @{PEERED}6 accept
    drop
  }}
  chain inbound {{
    ct state established,related accept
    drop
  }}
  chain translate {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname {uplinks} accept
{_lines(f"{_FAMILY[network.version]} saddr {network} masquerade" for network in settings.range.networks)}
  }}
}}
"""


def gateway_script(gateway: Gateway) -> str:
    """A gateway's table, made anew, with a policy that lets nothing through."""
    settings = gateway.settings
    return f"""\
add table {TABLE}
delete table {TABLE}
table {TABLE} {{
  counter sent {{ }}
  counter received {{ }}
  counter refused {{ }}
  counter limited {{ }}
  counter spoofed {{ }}
{_never_sets(settings)}
{_address_sets(PEERS)}
  set refused4 {{ type ipv4_addr . inet_proto . inet_service; flags dynamic,timeout; size 512; timeout 1h; }}
  set refused6 {{ type ipv6_addr . inet_proto . inet_service; flags dynamic,timeout; size 512; timeout 1h; }}
  chain arrive {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{INSIDE}" jump from_inside
  }}
  chain from_inside {{
{_lines(_spoofed(gateway))}
    ip option lsrr exists counter name spoofed drop
    ip option ssrr exists counter name spoofed drop
    exthdr rt exists counter name spoofed drop
  }}
  chain divert {{
    type nat hook prerouting priority dstnat; policy accept;
{_lines(_redirected(gateway))}
{_lines(_let_in(gateway))}
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    {_NEIGHBOURS}
    iifname "{INSIDE}" jump ask
    iifname "{OUTSIDE}" ct state established,related goto connected
  }}
  chain ask {{
{_lines(_asked(gateway))}
    icmp type echo-request limit rate 20/second accept
    icmpv6 type echo-request limit rate 20/second accept
    meta l4proto {_TCP} limit rate 100/second reject with tcp reset
  }}
  chain connect {{
    ct state new limit rate over 50/second burst 100 packets counter name limited drop
    ct count over {CONNECTOR_STREAMS} counter name limited drop
{_byte_limit(settings.limits)}
    counter name sent accept
  }}
  chain connected {{
{_byte_limit(settings.limits)}
    counter name received accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    iifname "{INSIDE}" oifname "{OUTSIDE}" goto outbound
    iifname "{OUTSIDE}" oifname "{INSIDE}" goto inbound
  }}
  chain outbound {{
    ct state invalid counter name refused drop
{_never_rules("goto refuse", but=PEERS)}
    meta l4proto != {{ {_PASSED} }} goto refuse
    ct state != related icmp type != echo-request goto refuse
    ct state != related icmpv6 type != echo-request goto refuse
    ct state new jump limits
{_byte_limit(settings.limits)}
    counter name sent
    ct original ip saddr @{PEERS}4 accept
    ct original ip6 saddr @{PEERS}6 accept
    jump judge
    goto refuse
  }}
  chain inbound {{
{_byte_limit(settings.limits)}
    counter name received
    ct original ip saddr @{PEERS}4 goto from_peer
    ct original ip6 saddr @{PEERS}6 goto from_peer
    ct state established,related jump judge
  }}
  chain from_peer {{
    ct state invalid counter name refused drop
    ct state new jump limits
    accept
  }}
  chain limits {{
    limit rate over {_rate(settings.limits.new_connections_per_s)} counter name limited drop
    ct count over {settings.limits.connections} counter name limited drop
  }}
  chain judge {{
  }}
  chain refuse {{
    counter name refused
    meta l4proto {{ {_TCP}, {_UDP} }} ct state new update @refused4 {{ ip daddr . meta l4proto . th dport }}
    meta l4proto {{ {_TCP}, {_UDP} }} ct state new update @refused6 {{ ip6 daddr . meta l4proto . th dport }}
    limit rate over 200/second burst 400 packets drop
    meta l4proto {_TCP} reject with tcp reset
    reject with icmpx admin-prohibited
  }}
  chain translate {{
    type nat hook postrouting priority srcnat; policy accept;
{_lines(_translated(gateway))}
  }}
}}
"""


# ---- the policy -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pins:
    """Addresses that names of a policy have led to, each with the seconds that it has left."""

    addresses: Mapping[Address, int]


def policy_script(serial: int, open_: bool, pins: Pins, before: int | None) -> str:
    """Serial `serial` takes the place of `before`: one transaction. Serials begin with 1, as no connection is marked 0.

    `open_`: whatever is not forbidden to all. Else what is pinned; `pins` are those that are so from the beginning.
    The same serial as before keeps what is pinned.
    """
    lines = [f"flush chain {TABLE} judge"]
    if open_:
        lines.append(f"add rule {TABLE} judge accept")
    else:
        lines += _pinned_policy(serial)
        lines += (
            [pin_script(serial, pins.addresses, updates=True)] if pins.addresses else []
        )  # a new set: none is there
    if before is not None and (before != serial or open_):
        lines += [f"delete set {TABLE} {set_name(before, version)}" for version in _FAMILY]
    return "\n".join(lines) + "\n"


def _pinned_policy(serial: int) -> list[str]:
    lines = [
        f"add set {TABLE} {set_name(serial, version)} {{ type ipv{version}_addr; flags timeout; size 65536; }}"
        for version in _FAMILY
    ]
    # A connection that was not judged by this policy yet has another mark: 0, or an earlier serial.
    lines.append(f"add rule {TABLE} judge ct mark {serial} accept")
    for version, family in _FAMILY.items():
        pinned = f"@{set_name(serial, version)} ct mark set {serial} accept"
        lines.append(f"add rule {TABLE} judge ct original {family} daddr {pinned}")
    return lines


def pin_script(serial: int, addresses: Mapping[Address, int], *, updates: bool) -> str:
    """Each for that many seconds from now, however long it had before. One transaction, no gap.

    `updates`: this kernel takes a new time for an element that is there (6.12 and later). Others change nothing then,
    so it is deleted first; and added before that, because what is not there cannot be deleted. A deletion makes the
    next transaction wait for a grace period of RCU, which is ten times as long as all the rest.
    """
    lines = []
    for version in _FAMILY:
        found = {str(address): seconds for address, seconds in addresses.items() if address.version == version}
        if found:
            name = f"{TABLE} {set_name(serial, version)}"
            bare = ", ".join(found)
            if not updates:
                lines += [f"add element {name} {{ {bare} }}", f"delete element {name} {{ {bare} }}"]
            timed = ", ".join(f"{address} timeout {seconds}s expires {seconds}s" for address, seconds in found.items())
            lines.append(f"add element {name} {{ {timed} }}")
    return "\n".join(lines)


def set_name(serial: int, version: int) -> str:
    """Of the set of addresses of that version."""
    return f"pinned{version}_{serial}"


def serial_of(set_names: Iterable[str]) -> int | None:
    """Of the policy that is in force, by the names of the sets that there are; None: open, or none yet."""
    serials = {int(name.partition("_")[2]) for name in set_names if name.startswith("pinned")}
    return max(serials, default=None)


# ---- peers ----------------------------------------------------------------------------------------------------------


def peers_script(peers: Iterable[Address]) -> str:
    """A gateway's machine has these peers, and no others. One transaction."""
    found = tuple(peers)
    return "".join(_filled(TABLE, PEERS, version, found) for version in _FAMILY)


def peered_script(settings: Settings, addresses: Iterable[Address], has_peers: bool) -> str:
    """Whether the gateway with these addresses has peers, for the host's table. Either way it may be said again."""
    table, found = f"inet {settings.table}", tuple(addresses)
    lines = []
    for verb in ("add",) if has_peers else ("add", "delete"):  # what is not there cannot be deleted
        lines += [f"{verb} element {table} {PEERED}{address.version} {{ {address} }}" for address in found]
    return "\n".join(lines) + "\n"


def _filled(table: str, name: str, version: int, addresses: Iterable[Address]) -> str:
    elements = ", ".join(str(address) for address in addresses if address.version == version)
    added = f"add element {table} {name}{version} {{ {elements} }}\n" if elements else ""
    return f"flush set {table} {name}{version}\n{added}"


# ---- parts ----------------------------------------------------------------------------------------------------------

# IPv6 has no ARP: without these neither end of a link finds the other. A router in between would lower the hop limit.
_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept"


def _never_sets(settings: Settings) -> str:
    sets = []
    for version in _FAMILY:
        for name, networks in (
            ("never", settings.never.networks),
            ("own", settings.never.own),
            ("allowed", settings.never.allowed),
        ):
            elements = ", ".join(str(network) for network in networks if network.version == version)
            filled = f" elements = {{ {elements} }};" if elements else ""
            sets.append(f"set {name}{version} {{ type ipv{version}_addr; flags interval; auto-merge;{filled} }}")
    return _lines(sets, indent=2)


def _never_rules(verdict: str, but: str | None = None) -> str:
    """By the destination: answers go to an address that is never one, but for those to a peer (`but`)."""
    rules = []
    for version, family in _FAMILY.items():
        others = f"{family} daddr != @{but}{version} " if but else ""
        rules.append(f"{others}{family} daddr @own{version} {verdict}")
        rules.append(f"{others}{family} daddr != @allowed{version} {family} daddr @never{version} {verdict}")
    return _lines(rules)


def _address_sets(name: str) -> str:
    return _lines((f"set {name}{version} {{ type ipv{version}_addr; }}" for version in _FAMILY), indent=2)


def _spoofed(gateway: Gateway) -> Iterable[str]:
    rest = "counter name spoofed drop"
    has = {ends.far.version: ends.far.ip for ends in gateway.inside}
    yield f"ip saddr != {has[4]} {rest}"
    if 6 in has:
        # Of its own accord a machine has a link-local address as well, and none at all while it looks for neighbours.
        yield f"ip6 saddr != {{ {has[6]}, fe80::/10, :: }} {rest}"
    else:
        yield f"meta nfproto ipv6 {rest}"


def _redirected(gateway: Gateway) -> Iterable[str]:
    for ends in gateway.inside:
        family = _FAMILY[ends.near.version]
        ports = f"meta l4proto {{ {_TCP}, {_UDP} }} th dport {DNS_PORT}"
        yield f'iifname "{INSIDE}" meta nfproto ipv{ends.near.version} {ports} dnat {family} to {ends.near.ip}'


def _let_in(gateway: Gateway) -> Iterable[str]:
    for inside, uplink in zip(gateway.inside, gateway.uplink, strict=True):
        family = _FAMILY[uplink.near.version]
        peer = f"{family} saddr @{PEERS}{uplink.near.version} {family} daddr {uplink.near.ip}"
        yield f'iifname "{OUTSIDE}" {peer} dnat {family} to {inside.far.ip}'


def _asked(gateway: Gateway) -> Iterable[str]:
    limits = gateway.settings.limits
    # Several datagrams for a query that was not answered in time, and two for each name (A and AAAA).
    flood = _rate(4 * limits.dns_queries_per_s)
    for ends in gateway.inside:
        here = f"{_FAMILY[ends.near.version]} daddr {ends.near.ip}"
        yield f"{here} udp dport {DNS_PORT} limit rate over {flood} counter name limited drop"
        yield f"{here} udp dport {DNS_PORT} accept"
        yield f"{here} tcp dport {DNS_PORT} ct state new limit rate over 20/second burst 40 packets drop"
        yield f"{here} tcp dport {DNS_PORT} ct count over 64 drop"
        yield f"{here} tcp dport {DNS_PORT} accept"
        yield f"{here} tcp dport {TLS_PORT} goto connect"


def _translated(gateway: Gateway) -> Iterable[str]:
    for inside, uplink in zip(gateway.inside, gateway.uplink, strict=True):
        family = _FAMILY[inside.far.version]
        yield f'oifname "{OUTSIDE}" {family} saddr {inside.far.ip} snat {family} to {uplink.near.ip}'


def _rate(per_s: int) -> str:
    return f"{per_s}/second burst {2 * per_s} packets"


def _byte_limit(limits: Limits) -> str:
    if limits.bytes_per_s is None:
        return ""
    most = limits.bytes_per_s
    return f"    limit rate over {most} bytes/second burst {max(most, 1 << 20)} bytes counter name limited drop"


def _lines(lines: Iterable[str], indent: int = 4) -> str:
    return "\n".join(" " * indent + line for line in lines)
