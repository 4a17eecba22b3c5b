"""rtnetlink(7) with the socket module: requests as bytes, sent many at a time, each of them acknowledged.

    message = header · body (ifinfomsg, ifaddrmsg, rtmsg) · attributes      everything in the byte order of the machine

A `Route` belongs to the network namespace that the thread was in when it was opened, and stays there. Requests of one
`send` are carried out in order; the kernel goes on after one that failed, so that all refusals are known, and the first
that counts is raised. Own code because a whole machine's network is a dozen messages in three system calls: the
library that was looked at (pyroute2 0.9) needs a millisecond for each, and half a second to be imported.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:  # each start of a container imports this file, and does without
    import ipaddress

    Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NEWLINK, DELLINK, NEWADDR, GETADDR, NEWROUTE, GETROUTE = 16, 17, 20, 22, 24, 26
CREATE, EXCLUSIVE, REPLACE = 0x400, 0x200, 0x100
IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO, IFLA_NET_NS_PID, IFLA_NET_NS_FD = 3, 4, 18, 19, 28
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_PERMANENT, IFA_F_NODAD, IFA_F_NOPREFIXROUTE = 0x80, 0x02, 0x200
SCOPE_UNIVERSE, SCOPE_LINK = 0, 253
LINK = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBi")

_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_TABLE_MAIN, _PROTOCOL_STATIC, _UNICAST = 254, 4, 1
_ROUTE = struct.Struct("=BBBBBBBBI")
_IFF_UP = 0x1
_TIMEOUT_S = 10
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


class Request(msgspec.Struct, frozen=True):
    """One message. `what` is how an error calls it, if anything; an errno in `harmless` means that it is so already."""

    what: str
    kind: int
    flags: int
    body: bytes
    harmless: frozenset[int] = frozenset()


class End(msgspec.Struct, frozen=True):
    """One end of a veth pair. `namespace_fd` None: where the request is made. `index` 0: the kernel numbers it."""

    name: str
    index: int = 0
    namespace_fd: int | None = None
    mtu: int = 1500

    def encode(self, flags: int) -> bytes:
        """The body of a message about it."""
        body = LINK.pack(socket.AF_UNSPEC, 0, self.index, flags, flags)
        body += attribute(IFLA_IFNAME, self.name.encode() + b"\0") + attribute(IFLA_MTU, struct.pack("=I", self.mtu))
        if self.namespace_fd is not None:
            body += attribute(IFLA_NET_NS_FD, struct.pack("=i", self.namespace_fd))
        return body


def add_veth(near: End, far: End) -> Request:
    """`near` is up from the beginning; the kernel refuses that to the other end (ENOTCONN: it has no peer yet)."""
    peer = attribute(_VETH_INFO_PEER, far.encode(0))
    info = attribute(_IFLA_INFO_KIND, b"veth\0") + attribute(_IFLA_INFO_DATA, peer)
    body = near.encode(_IFF_UP) + attribute(IFLA_LINKINFO, info)
    return Request(f"add veth {near.name} with {far.name}", NEWLINK, CREATE | EXCLUSIVE, body)


def raise_link(name: str) -> Request:
    """Bring it up; up already is fine."""
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, _IFF_UP, _IFF_UP) + attribute(IFLA_IFNAME, name.encode() + b"\0")
    return Request(f"bring {name} up", NEWLINK, 0, body)


def delete_link(name: str) -> Request:
    """With its peer, where it has one; gone already is fine."""
    body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(IFLA_IFNAME, name.encode() + b"\0")
    return Request(f"delete {name}", DELLINK, 0, body, frozenset({errno.ENODEV}))


def add_address(index: int, interface: Interface, *, prefix_route: bool = True) -> Request:
    """Of the link with that number. Without duplicate address detection: who numbers both ends knows.

    `prefix_route`: whether the kernel adds a route to the address's network, which it does though another link has it.
    """
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    flags = IFA_F_NODAD | (0 if prefix_route else IFA_F_NOPREFIXROUTE)
    body = ADDRESS.pack(family, interface.network.prefixlen, flags & 0xFF, SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, interface.packed) + attribute(IFA_ADDRESS, interface.packed)
    body += attribute(IFA_FLAGS, struct.pack("=I", flags))
    return Request(f"add address {interface}", NEWADDR, CREATE | EXCLUSIVE, body, frozenset({errno.EEXIST}))


def add_default_route(index: int, gateway: Address) -> Request:
    """To everywhere, by `gateway`, which the link with that number leads to."""
    family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, SCOPE_UNIVERSE, _UNICAST, 0)
    body += attribute(_RTA_GATEWAY, gateway.packed) + attribute(_RTA_OIF, struct.pack("=i", index))
    return Request(f"route to everywhere by {gateway}", NEWROUTE, CREATE | REPLACE, body)


def claim_address(index: int, address: Address) -> Request:
    """A route to that address alone, by that link. EEXIST when there is one already, by any link: only one has it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    bits = address.max_prefixlen
    body = _ROUTE.pack(family, bits, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, SCOPE_LINK, _UNICAST, 0)
    body += attribute(_RTA_DST, address.packed) + attribute(_RTA_OIF, struct.pack("=i", index))
    return Request(f"claim {address}", NEWROUTE, CREATE | EXCLUSIVE, body)


class Route:
    """A socket to the namespace that the caller's thread is in now. Close it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(_TIMEOUT_S)

    def __enter__(self) -> Route:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Carry out all of them; `OSError` of the first that failed and may not."""
        if not requests:
            return  # an empty message is ENODATA
        self._socket.send(b"".join(_encode(request, number) for number, request in enumerate(requests, start=1)))
        problem: OSError | None = None
        waiting = len(requests)
        while waiting:
            for _, number, content in messages(self._socket.recv(1 << 16)):
                waiting -= 1
                request = requests[number - 1]
                (code,) = struct.unpack_from("=i", content)
                if code and -code not in request.harmless and problem is None:
                    problem = OSError(
                        -code, f"{request.what}: {os.strerror(-code)}" if request.what else os.strerror(-code)
                    )
        if problem is not None:
            raise problem

    def link_towards(self, address: Address) -> int | None:
        """The number of the link that packets to `address` leave by; None where no route leads there."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        body = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_DST, address.packed)
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), GETROUTE, _REQUEST, 0, 0) + body)
        for kind, _, content in messages(self._socket.recv(1 << 16)):
            if kind != _ERROR:
                found = dict(attributes(content[_ROUTE.size :])).get(_RTA_OIF)
                return None if found is None else int(struct.unpack("=i", found)[0])
        return None

    def dump(self, kind: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """What there is, as (kind, content)."""
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _DUMP, 0, 0) + body)
        while True:
            for answer, _, content in messages(self._socket.recv(1 << 16)):
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    (code,) = struct.unpack_from("=i", content)
                    raise OSError(-code, os.strerror(-code))
                yield answer, content


def _encode(request: Request, number: int) -> bytes:
    size = _HEADER.size + len(request.body)
    header = _HEADER.pack(size, request.kind, _REQUEST | _ACK | request.flags, number, 0)
    return header + request.body + bytes(_aligned(size) - size)


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(kind, sequence number, content) of each."""
    while len(data) >= _HEADER.size:
        size, kind, _, number, _ = _HEADER.unpack_from(data)
        yield kind, number, data[_HEADER.size : size]
        data = data[_aligned(size) :]


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of each."""
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : size]
        data = data[_aligned(max(size, _ATTRIBUTE.size)) :]


def attribute(kind: int, value: bytes) -> bytes:
    """One, padded."""
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(_aligned(size) - size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3
