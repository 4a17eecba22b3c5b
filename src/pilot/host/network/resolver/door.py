"""The sockets of the resolver in one gateway: who asks there is that gateway's machine, whatever it says.

A datagram, or a connection, is served by a task of its own; connections may send several questions and are answered in
order. The kernel bounds how many connections there are (`ruleset`), and we bound how long they may say nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from ....kernel import netns
from .. import binding
from ..plan import DNS_PORT

IDLE_S = 10.0
MOST_AT_ONCE = 512
_BACKLOG = 64
_log = logging.getLogger(__name__)

Answer = Callable[[bytes, bool], Awaitable[bytes | None]]


class Door:
    """`await Door.open(…)`; close it. `identity` is that of the namespace that the sockets are in."""

    def __init__(self, identity: int) -> None:
        self.identity = identity
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, namespace: str, addresses: Sequence[str], answer: Answer) -> Door:
        """`OSError`: there is no such namespace, or somebody has the port."""
        door = cls(binding.identity(namespace))
        loop = asyncio.get_running_loop()
        try:
            for datagrams, stream in netns.inside(namespace, lambda: [_bind(address) for address in addresses]):
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(door, answer), sock=datagrams)
                door._transports.append(transport)
                server = await asyncio.start_server(lambda r, w: _serve_stream(r, w, answer), sock=stream)
                door._servers.append(server)
        except BaseException:
            door.close()
            raise
        return door

    def close(self) -> None:
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()

    def spawn(self, work: Awaitable[None]) -> None:
        """In a task of its own; when there are too many it is not begun at all, and nobody gets an answer."""
        if len(self._tasks) >= MOST_AT_ONCE:
            work.close() if asyncio.iscoroutine(work) else None
            return
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, door: Door, answer: Answer) -> None:
        self._door = door
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is not of that class

    def datagram_received(self, data: bytes, source: tuple[object, ...]) -> None:
        self._door.spawn(self._reply(data, source))

    async def _reply(self, data: bytes, source: tuple[object, ...]) -> None:
        answer = await _guarded(self._answer, data, False)
        if answer is not None and not self._transport.is_closing():
            self._transport.sendto(answer, source)


async def _serve_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                question = await reader.readexactly(size)
            found = await _guarded(answer, question, True)
            if found is None:
                break  # a stream has no other way to say so
            writer.write(struct.pack("!H", len(found)) + found)
            async with asyncio.timeout(IDLE_S):
                await writer.drain()
    except (asyncio.IncompleteReadError, TimeoutError, OSError):
        pass  # the other side has gone, or says nothing: either way nobody is waiting
    finally:
        writer.close()


async def _guarded(answer: Answer, data: bytes, stream: bool) -> bytes | None:
    """What a machine sends may be made to hurt us: a defect costs that one answer, and is told."""
    try:
        return await answer(data, stream)
    except Exception:  # noqa: BLE001 - see above
        _log.exception("question not answered")
        return None


def _bind(address: str) -> tuple[socket.socket, socket.socket]:
    datagrams = binding.bound(socket.SOCK_DGRAM, address, DNS_PORT)
    try:
        stream = binding.bound(socket.SOCK_STREAM, address, DNS_PORT)
    except BaseException:
        datagrams.close()
        raise
    stream.listen(_BACKLOG)
    return datagrams, stream
