"""Connections to the ports of sprites, kept for a moment after an answer, for the next request to the same port.

A server closes connections that nobody uses whenever it likes (Node after 5 s), perhaps while a request is on its way.
So they are kept for less than that, and only requests that may be asked twice go on one that has been used.
"""

from __future__ import annotations

import asyncio
import socket

from ... import errors
from ...machine import dial
from ...wire import dial as lines
from ..services.sprites import Sprites
from ..store.sprites import Sprite
from .upstream import Upstream

IDLE_S = 4.0
MAX_IDLE = 64  # of one port
CONNECT_S = 5.0
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_Key = tuple[str, str | None, int]


class NothingListens(errors.PeerError):
    """The sprite is awake, and nobody takes connections at that port of it."""


class Pool:
    """For one event loop. What it gives is the caller's, who gives it back or closes it."""

    def __init__(self, sprites: Sprites) -> None:
        self._sprites = sprites
        self._idle: dict[_Key, list[Upstream]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def taken(self, sprite: Sprite, port: int) -> Upstream | None:
        """One that has been used before, the latest first."""
        idle = self._idle.get(_key(sprite, port))
        while idle:
            found = idle.pop()
            if not found.is_lost:
                return found
        return None

    def give(self, sprite: Sprite, port: int, upstream: Upstream) -> None:
        """It has answered, and may do so again."""
        idle = self._idle.setdefault(_key(sprite, port), [])
        if len(idle) >= MAX_IDLE:
            upstream.close()
            return
        upstream.rest()
        idle.append(upstream)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(IDLE_S / 2, self._sweep)

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

    async def connect(self, sprite: Sprite, port: int) -> Upstream:
        """A new one. `NothingListens`; another `PilotError` when its machine cannot be reached at all."""
        refused: OSError | None = None
        for family, address in _LOOPBACKS:
            connection = await asyncio.to_thread(self._sprites.tcp_socket, sprite, family)
            if connection is None:
                return await self._dial(sprite, port)
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
                return await _upstream(connection)
        raise _nothing(sprite, port) from refused

    async def _dial(self, sprite: Sprite, port: int) -> Upstream:
        """By its agent, where that alone is in the network that the sprite's programs listen in."""
        try:
            stream = await dial.open_stream(self._sprites.dial_path(sprite), lines.tcp_port(port))
        except lines.Refused as error:
            raise _nothing(sprite, port) from error
        connection, early = stream.detach()
        upstream = await _upstream(connection)
        if early:  # it speaks before it is asked: that is no web server
            upstream.data_received(early)
        return upstream


async def _upstream(connection: socket.socket) -> Upstream:
    """Takes the connection."""
    try:
        _, upstream = await asyncio.get_running_loop().create_connection(Upstream, sock=connection)
    except BaseException:
        connection.close()
        raise
    return upstream


def _nothing(sprite: Sprite, port: int) -> NothingListens:
    return NothingListens(
        f"nothing listens on port {port} of sprite {sprite.name}", hint=f"start a server on port {port} in the sprite"
    )


def _key(sprite: Sprite, port: int) -> _Key:
    return sprite.id, sprite.machine, port
