"""A network device is moved into another network namespace, with what belongs to it.

    here    read its addresses ── RTM_NEWLINK (namespace of PID, new name) ──►  there  RTM_NEWADDR each · RTM_NEWLINK up

What is done *there* is done by a thread of our own that joins the namespace and ends (`visit`).
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
from . import rtnetlink, visit

_T = TypeVar("_T")

_SIOCSIFFLAGS = 0x8914
_SIOCGIFFLAGS = 0x8913
_REQUEST = struct.Struct("16sH22x")  # struct ifreq, with flags
_FLAGS = struct.Struct("H")
_IFF_UP = 0x1
_TIMEOUT_S = 10

_KEPT = frozenset({rtnetlink.IFA_ADDRESS, rtnetlink.IFA_LOCAL, rtnetlink.IFA_BROADCAST})


class Address(msgspec.Struct, frozen=True):
    """An address of a device, as the attributes that make it again."""

    family: int
    prefix: int
    attributes: tuple[tuple[int, bytes], ...]


def move_link(name: str, pid: int, new_name: str) -> None:
    """Move device `name` into the network namespace of `pid`, with its permanent global addresses, and bring it up.

    `new_name` may end in %d: then the kernel numbers it. HostError: there is no such device, the name is taken there.
    """
    what = f"move network device {name}"
    try:
        index = _index(name)
        with rtnetlink.Route() as route:
            addresses = list(_addresses(route, index))
            before = in_network_namespace(pid, what, _indexes)
            route.send([_move(index, pid, new_name)])
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
    with rtnetlink.Route() as route:
        route.send([_request(index, address) for address in addresses])
    _raise(name)


def _raise(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        (flags,) = _FLAGS.unpack_from(fcntl.ioctl(control, _SIOCGIFFLAGS, _REQUEST.pack(name.encode(), 0)), 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, _REQUEST.pack(name.encode(), flags | _IFF_UP))  # what it had, it keeps


def _move(index: int, pid: int, new_name: str) -> rtnetlink.Request:
    body = rtnetlink.LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    body += rtnetlink.attribute(rtnetlink.IFLA_NET_NS_PID, struct.pack("=I", pid))
    body += rtnetlink.attribute(rtnetlink.IFLA_IFNAME, new_name.encode() + b"\0")
    return rtnetlink.Request("", rtnetlink.NEWLINK, 0, body)


def _request(index: int, address: Address) -> rtnetlink.Request:
    # A duplicate cannot be: it was in use until a moment ago.
    flags, scope = rtnetlink.IFA_F_NODAD, rtnetlink.SCOPE_UNIVERSE
    body = rtnetlink.ADDRESS.pack(address.family, address.prefix, flags, scope, index)
    body += b"".join(rtnetlink.attribute(kind, value) for kind, value in address.attributes)
    return rtnetlink.Request("", rtnetlink.NEWADDR, rtnetlink.CREATE, body)


def _addresses(route: rtnetlink.Route, index: int) -> Iterator[Address]:
    everything = rtnetlink.ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    for kind, body in route.dump(rtnetlink.GETADDR, everything):
        family, prefix, flags, scope, of = rtnetlink.ADDRESS.unpack_from(body)
        attributes = dict(rtnetlink.attributes(body[rtnetlink.ADDRESS.size :]))
        if rtnetlink.IFA_FLAGS in attributes:
            (flags,) = struct.unpack("=I", attributes[rtnetlink.IFA_FLAGS])
        permanent = bool(flags & rtnetlink.IFA_F_PERMANENT)
        if kind == rtnetlink.NEWADDR and of == index and scope == rtnetlink.SCOPE_UNIVERSE and permanent:
            yield Address(family, prefix, tuple((k, v) for k, v in attributes.items() if k in _KEPT))
