"""Connections to what listens in the machine: in the world's network first, then in the machine's own.

A socket belongs to the network namespace of the thread that made it, and stays there, whoever uses it. A network is
named by a process that is in it.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import itertools
import os
import socket
from collections.abc import Sequence
from typing import Any

from .. import errors
from ..kernel import visit
from ..server.stream import SocketStream

CONNECT_S = 5.0
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
Target = tuple[int, Any]  # a family, and an address of it as connect(2) has it


async def connect(networks: Sequence[int], port: int) -> SocketStream:
    """On either loopback address. `PeerError` when nothing listens there, or takes no connection in time."""
    try:
        made = await connect_any(networks, loopback(port), CONNECT_S)
    except OSError as error:  # TimeoutError is one
        why = error.strerror or "no connection in time"
        raise errors.PeerError(f"port {port}: {why.lower()}") from error
    return SocketStream(*await asyncio.open_connection(sock=made))


def loopback(port: int) -> list[Target]:
    """That port of each loopback address."""
    return [(family, (address, port)) for family, address in _LOOPBACKS]


async def connect_any(networks: Sequence[int], targets: Sequence[Target], timeout_s: float) -> socket.socket:
    """To the first that takes it; `timeout_s` for each. `OSError`, of the first that does not."""
    problem: OSError | None = None
    for pid, (family, address) in itertools.product(networks, targets):
        try:
            return await _connect(pid, family, address, timeout_s)
        except OSError as error:
            problem = problem or error
    raise problem or OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))


async def _connect(pid: int, family: int, address: Any, timeout_s: float) -> socket.socket:
    made = await asyncio.to_thread(_socket, pid, family)
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _socket(pid: int, family: int) -> socket.socket:
    """`OSError`: that process has just ended."""
    make = functools.partial(socket.socket, family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made = make() if pid == os.getpid() else visit.visit(pid, visit.Namespace.NETWORK, make)
    made.setblocking(False)
    return made
