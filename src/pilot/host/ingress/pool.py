"""Connections to the ports of machines, kept for a moment after an answer, for the next request to the same port.

A server closes connections that nobody uses whenever it likes (Node after 5 s), perhaps while a request is on its way.
So they are kept for less than that, and only requests that may be asked twice go on one that has been used.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from ... import errors
from ...machine import dial
from ...wire import dial as lines
from .upstream import Upstream

IDLE_S = 4.0
MAX_IDLE = 64  # of one port
CONNECT_S = 5.0
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
Of = TypeVar("Of")
_Of = TypeVar("_Of", contravariant=True)


class NothingListens(errors.PeerError):
    """The machine runs, and nobody takes connections at that port of it."""


class Ways(Protocol[_Of]):
    """To the programs of what has a machine."""

    def tcp_socket(self, of: _Of, family: socket.AddressFamily, /) -> socket.socket | None:
        """As `Vmm.tcp_socket`. Blocks for a moment."""
        ...

    def dial_path(self, of: _Of, /) -> str: ...


class Named(Protocol[_Of]):
    """What it is called, and what another machine of the same name is told apart by."""

    def title(self, of: _Of, /) -> str: ...

    def key(self, of: _Of, /) -> Hashable: ...


class Pool(Generic[Of]):
    """For one event loop. What it gives is the caller's, who gives it back or closes it."""

    def __init__(self, ways: Ways[Of], named: Named[Of]) -> None:
        self._ways = ways
        self._named = named
        self._idle: dict[Hashable, list[Upstream]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def taken(self, of: Of, port: int) -> Upstream | None:
        """One that has been used before, the latest first."""
        idle = self._idle.get(self._key(of, port))
        while idle:
            found = idle.pop()
            if not found.is_lost:
                return found
        return None

    def give(self, of: Of, port: int, upstream: Upstream) -> None:
        """It has answered, and may do so again."""
        idle = self._idle.setdefault(self._key(of, port), [])
        if len(idle) >= MAX_IDLE:
            upstream.close()
            return
        upstream.rest()
        idle.append(upstream)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(IDLE_S / 2, self._sweep)

    def _key(self, of: Of, port: int) -> Hashable:
        return self._named.key(of), port

    def _sweep(self) -> None:
        """Close what has not been used for long."""
        loop = asyncio.get_running_loop()
        before_s = loop.time() - IDLE_S
        for key, idle in list(self._idle.items()):
            kept = [each for each in idle if not each.is_lost and each.idle_since_s > before_s]
            for each in idle:
                if each not in kept:
                    each.close()
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]
        self._sweeping = loop.call_later(IDLE_S / 2, self._sweep) if self._idle else None

    async def connect(self, of: Of, port: int) -> Upstream:
        """A new one. `NothingListens`; another `PilotError` when its machine cannot be reached at all."""
        connection, early = await self.open(of, port)
        upstream = await _upstream(connection)
        if early:  # it speaks before it is asked: that is no web server
            upstream.data_received(early)
        return upstream

    async def open(self, of: Of, port: int) -> tuple[socket.socket, bytes]:
        """A connection that is the caller's, and what came on it already. Errors as of `connect`."""
        refused: OSError | None = None
        for family, address in _LOOPBACKS:
            connection = await asyncio.to_thread(self._ways.tcp_socket, of, family)
            if connection is None:
                return await self._dial(of, port)
            try:
                async with asyncio.timeout(CONNECT_S):
                    await asyncio.get_running_loop().sock_connect(connection, (address, port))
            except OSError as error:  # TimeoutError is one, of a backlog that is full
                connection.close()
                refused = error
            except BaseException:
                connection.close()
                raise
            else:
                return connection, b""
        raise self._nothing(of, port) from refused

    async def _dial(self, of: Of, port: int) -> tuple[socket.socket, bytes]:
        """By its agent, where that alone is in the network that the machine's programs listen in."""
        try:
            stream = await dial.open_stream(self._ways.dial_path(of), lines.tcp_port(port))
        except lines.Refused as error:
            raise self._nothing(of, port) from error
        return stream.detach()

    def _nothing(self, of: Of, port: int) -> NothingListens:
        return NothingListens(
            f"nothing listens on port {port} of {self._named.title(of)}", hint=f"start a server on port {port} in it"
        )


async def _upstream(connection: socket.socket) -> Upstream:
    """Takes the connection."""
    try:
        _, upstream = await asyncio.get_running_loop().create_connection(Upstream, sock=connection)
    except BaseException:
        connection.close()
        raise
    return upstream
