"""A way for datagrams to one UDP port of a Machine, for one client of it. What cannot be taken at once is lost.

by a socket of ours in the Machine's network    127.0.0.1:PORT of it, whatever address the program is bound to
by its agent's proxy                            where that network is the kernel's of a virtual machine
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Protocol, cast

import msgspec

from .... import errors
from ....machine import dial
from ....server import client
from ....server.call import WebSocket
from ....server.stream import SocketStream
from ....wire import dial as lines
from ....wire import operations, schema, websocket
from ...services.fly_ways import Backend, FlyWays
from ..pool import NothingListens
from .backlog import Backlog, Waiting

OPEN_S = 30.0
# Of datagrams that wait for a program that does not take them.
MOST_BYTES, MOST_WAITING = 256 << 10, 64


class Taker(Protocol):
    """Whose the way is."""

    def answered(self, data: bytes) -> None:
        """A datagram has come back."""

    def refused(self) -> None:
        """Nothing listens there, as far as that is told of datagrams."""

    def ended(self) -> None:
        """The Machine has gone."""


class Link(Protocol):
    def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


async def open_link(ways: FlyWays, backend: Backend, taker: Taker, waiting: Waiting) -> Link:
    """The caller's, who closes it. `NothingListens` when the Machine has gone since it was chosen."""
    try:
        connection = await _socket(ways, backend)
        if connection is not None:
            return await _of_kernel(connection, backend.service.internal_port, taker)
        async with asyncio.timeout(OPEN_S):
            backlog = Backlog(waiting, backend.row.app, most=MOST_WAITING, most_bytes=MOST_BYTES)
            return await _of_agent(ways.dial_path(backend), backend.service.internal_port, taker, backlog)
    except (errors.PeerError, errors.StateError, errors.NotFound, client.Refused, OSError) as error:
        raise NothingListens(f"machine {backend.id} is gone: {errors.told(error)}") from error


async def _socket(ways: FlyWays, backend: Backend) -> socket.socket | None:
    """Closed when nobody waits for it any more."""
    making = asyncio.ensure_future(asyncio.to_thread(ways.udp_socket, backend))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(_drop)
        raise


def _drop(making: asyncio.Future[socket.socket | None]) -> None:
    if not making.cancelled() and making.exception() is None and (made := making.result()) is not None:
        made.close()


async def _of_kernel(connection: socket.socket, port: int, taker: Taker) -> Link:
    """Takes the socket."""
    try:
        connection.connect(("127.0.0.1", port))  # nothing is sent
        loop = asyncio.get_running_loop()
        made, _ = await loop.create_datagram_endpoint(lambda: _Answers(taker), sock=connection)
    except BaseException:
        connection.close()
        raise
    return _KernelLink(Sending(made))


class Sending:
    """By a socket of datagrams: what would wait for room beyond some is lost."""

    def __init__(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def send(self, data: bytes, address: tuple[str, int] | None = None) -> None:
        # typeshed knows of no such method of a DatagramTransport; it is there since Python 3.5
        if cast(asyncio.WriteTransport, self.transport).get_write_buffer_size() < MOST_BYTES:
            self.transport.sendto(data, address)


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, taker: Taker) -> None:
        self._taker = taker

    def datagram_received(self, data: bytes, address: object) -> None:
        self._taker.answered(data)

    def error_received(self, error: Exception) -> None:
        if isinstance(error, ConnectionRefusedError):
            self._taker.refused()


class _KernelLink:
    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    def send(self, data: bytes) -> None:
        self._sending.send(data)

    def close(self) -> None:
        self._sending.transport.abort()


async def _of_agent(path: str, port: int, taker: Taker, backlog: Backlog) -> Link:
    dialled = await dial.open_stream(path, lines.PORT_API)
    connection, early = dialled.detach()
    stream = await SocketStream.of_socket(connection, first=early)
    try:
        opened = await client.open_websocket(stream, operations.PROXY.target({}, []))
        wanted = schema.ProxyRequest(host="127.0.0.1", port=port, protocol="udp")
        await opened.send(msgspec.json.encode(wanted).decode())
        _check(await opened.receive())
    except BaseException:
        stream.abort()
        raise
    return _AgentLink(stream, opened, taker, backlog)


def _check(answer: websocket.Event) -> None:
    if isinstance(answer, websocket.Closed):
        raise errors.PeerError("proxy: the machine closed the connection")
    try:
        told = msgspec.json.decode(answer, type=schema.ProxyAnswer)
    except errors.UNREADABLE as error:
        raise errors.PeerError("proxy: the machine's answer is none") from error
    if told.status != "connected":
        raise errors.PeerError(f"proxy: {str(told.error)[:200]}")


class _AgentLink:
    def __init__(self, stream: SocketStream, opened: WebSocket, taker: Taker, backlog: Backlog) -> None:
        self._stream = stream
        self._opened = opened
        self._taker = taker
        self._backlog = backlog
        self._more = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._run(self._read), name="datagrams of a machine"),
            loop.create_task(self._run(self._write), name="datagrams to a machine"),
        ]

    def send(self, data: bytes) -> None:
        if self._backlog.add(data):
            self._more.set()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._backlog.clear()
        self._stream.abort()

    async def _run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        with contextlib.suppress(errors.PilotError, OSError):  # it has gone, which is told
            await work()
        self._taker.ended()

    async def _read(self) -> None:
        while not isinstance(message := await self._opened.receive(), websocket.Closed):
            self._taker.answered(message if isinstance(message, bytes) else message.encode())

    async def _write(self) -> None:
        while True:
            await self._more.wait()
            while self._backlog:
                await self._opened.send(self._backlog.first())
                self._backlog.drop()
            self._more.clear()
