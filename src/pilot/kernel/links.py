"""Network devices of other network namespaces: `lo` is brought up, a device is moved with what belongs to it.

    here    read its addresses ── RTM_NEWLINK (namespace of PID, new name) ──►  there  RTM_NEWADDR each · RTM_NEWLINK up

What is done *there* is done by a thread of our own that joins the namespace and ends (`visit`). rtnetlink(7) is spoken
with the socket module; each request waits for its acknowledgement.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from .. import errors
from . import visit

_T = TypeVar("_T")

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_TIMEOUT_S = 10

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_GETADDR = 16, 20, 22
_NLM_REQUEST, _NLM_ACK, _NLM_DUMP, _NLM_CREATE = 0x1, 0x4, 0x300, 0x400
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_IFLA_IFNAME, _IFLA_NET_NS_PID = 3, 19
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_PERMANENT, _IFA_F_NODAD = 0x80, 0x02
_KEPT = frozenset({_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST})
_SCOPE_UNIVERSE = 0
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ATTRIBUTE = struct.Struct("=HH")


class Address(msgspec.Struct, frozen=True):
    """An address of a device, as the attributes that make it again."""

    family: int
    prefix: int
    attributes: tuple[tuple[int, bytes], ...]


def raise_loopback(pid: int) -> None:
    """Bring `lo` up in the network namespace of `pid`. HostError."""
    in_network_namespace(pid, "bring lo up", lambda: _raise("lo"))


def move_link(name: str, pid: int, new_name: str) -> None:
    """Move device `name` into the network namespace of `pid`, with its permanent global addresses, and bring it up.

    `new_name` may end in %d: then the kernel numbers it. HostError: there is no such device, the name is taken there.
    """
    what = f"move network device {name}"
    try:
        index = _index(name)
        with _route_socket() as route:
            addresses = list(_addresses(route, index))
            before = in_network_namespace(pid, what, _indexes)
            attributes = _attribute(_IFLA_NET_NS_PID, struct.pack("=I", pid)) + _attribute(
                _IFLA_IFNAME, new_name.encode() + b"\0"
            )
            _request(route, _RTM_NEWLINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + attributes)
    except OSError as error:
        raise errors.HostError(f"{what} as {new_name}: {(error.strerror or '').lower()}") from error
    in_network_namespace(pid, what, lambda: _settle(before, addresses))


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:  # the C function leaves no errno
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error


def in_network_namespace(pid: int, what: str, function: Callable[[], _T]) -> _T:
    """Run `function` in the network namespace of `pid`, in a thread; HostError saying `what` for its OSError."""
    try:
        return visit.visit(pid, visit.Namespace.NETWORK, function)
    except OSError as error:
        raise errors.HostError(f"{what}: {(error.strerror or '').lower()}") from error


def _indexes() -> frozenset[int]:
    return frozenset(index for index, _ in socket.if_nameindex())


def _settle(before: frozenset[int], addresses: list[Address]) -> None:
    """Of the device that has come since `before`: its addresses, and up."""
    index, name = next((index, name) for index, name in socket.if_nameindex() if index not in before)
    with _route_socket() as route:
        for address in addresses:
            # A duplicate cannot be: it was in use until a moment ago.
            body = _ADDRESS.pack(address.family, address.prefix, _IFA_F_NODAD, _SCOPE_UNIVERSE, index)
            body += b"".join(_attribute(kind, value) for kind, value in address.attributes)
            _request(route, _RTM_NEWADDR, _NLM_CREATE, body)
    _raise(name)


def _raise(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", name.encode(), _IFF_UP))


# ---- rtnetlink --------------------------------------------------------------------------------------------------


def _route_socket() -> socket.socket:
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    route.settimeout(_TIMEOUT_S)
    return route


def _addresses(route: socket.socket, index: int) -> Iterator[Address]:
    for kind, body in _dump(route, _RTM_GETADDR, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        family, prefix, flags, scope, of = _ADDRESS.unpack_from(body)
        attributes = dict(_attributes(body[_ADDRESS.size :]))
        if _IFA_FLAGS in attributes:
            (flags,) = struct.unpack("=I", attributes[_IFA_FLAGS])
        if kind == _RTM_NEWADDR and of == index and scope == _SCOPE_UNIVERSE and flags & _IFA_F_PERMANENT:
            yield Address(family, prefix, tuple((k, v) for k, v in attributes.items() if k in _KEPT))


def _dump(route: socket.socket, kind: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    route.send(_HEADER.pack(_HEADER.size + len(body), kind, _NLM_REQUEST | _NLM_DUMP, 0, 0) + body)
    while True:
        for answer, content in _messages(route.recv(1 << 16)):
            if answer == _NLMSG_DONE:
                return
            _check(answer, content)
            yield answer, content


def _request(route: socket.socket, kind: int, flags: int, body: bytes) -> None:
    route.send(_HEADER.pack(_HEADER.size + len(body), kind, _NLM_REQUEST | _NLM_ACK | flags, 0, 0) + body)
    for answer, content in _messages(route.recv(1 << 16)):
        _check(answer, content)


def _check(kind: int, content: bytes) -> None:
    """An error message with 0 is the acknowledgement."""
    if kind == _NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", content)
        if code:
            raise OSError(-code, os.strerror(-code))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        size, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : size]
        data = data[_aligned(size) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : size]
        data = data[_aligned(max(size, _ATTRIBUTE.size)) :]


def _attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(_aligned(size) - size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3
