"""UDP of a port in the machine: what is sent goes out as it came, or is lost, as on any way that datagrams go.

Nobody knows whether somebody listens: a refusal that the kernel tells of is passed over, the next may be taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket

from ..kernel import visit
from .tcp_ports import Target

MOST_BYTES = 65535


class Datagrams:
    """Like a `SocketStream`, but a write is a datagram, and a read is one. Close it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        """One that is too long, or finds no room, is lost."""
        with contextlib.suppress(OSError):
            self._connection.send(data)

    async def drain(self) -> None:
        """There is nothing to wait for."""

    async def read(self) -> bytes:
        """The next that is not empty."""
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                if data := await asyncio.get_running_loop().sock_recv(self._connection, MOST_BYTES):
                    return data

    async def close(self) -> None:
        self._connection.close()


async def connect(pid: int, target: Target) -> Datagrams:
    """From the network of that process. `OSError`."""
    family, address = target
    made = await asyncio.to_thread(_socket, pid, family)
    try:
        made.connect(address)  # of a datagram socket: nothing is sent
    except BaseException:
        made.close()
        raise
    return Datagrams(made)


def _socket(pid: int, family: int) -> socket.socket:
    """`OSError`: that process has just ended."""
    make = functools.partial(socket.socket, family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    made = make() if pid == os.getpid() else visit.visit(pid, visit.Namespace.NETWORK, make)
    made.setblocking(False)
    return made
