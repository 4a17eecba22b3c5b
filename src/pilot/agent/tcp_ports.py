"""Connections to what listens in the machine, on either loopback address."""

from __future__ import annotations

import asyncio

from .. import errors
from ..server.stream import SocketStream

CONNECT_S = 5.0
_LOOPBACKS = ("127.0.0.1", "::1")


async def connect(port: int) -> SocketStream:
    """`PeerError` when nothing listens there, or takes no connection in time."""
    problem: OSError | None = None
    for address in _LOOPBACKS:
        try:
            async with asyncio.timeout(CONNECT_S):
                return SocketStream(*await asyncio.open_connection(address, port))
        except OSError as error:  # TimeoutError is one
            problem = problem or error
    why = (problem.strerror if problem else None) or "no connection in time"
    raise errors.PeerError(f"port {port}: {why.lower()}") from problem
