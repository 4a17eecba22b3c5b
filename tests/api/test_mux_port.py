"""The guest's end of the mux over a real byte stream, with the real server behind it: what tests/guest does in a VM."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pilot.server import client
from pilot.server.mux_port import MuxPort
from pilot.server.stream import READ_BYTES
from pilot.wire import dial, mux, schema
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")


class HostEnd:
    """A host's end, as simple as can be: no back-pressure of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._mux = mux.Mux(mux.Role.HOST, nonce=os.urandom(16))
        self.queues: dict[int, asyncio.Queue[bytes]] = {}
        self.ready = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def flush(self) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, self._mux.take_output())

    async def _run(self) -> None:
        await self.flush()
        while data := await asyncio.get_running_loop().sock_recv(self._socket, 65536):
            for event in self._mux.receive(data):
                self._on_event(event)
            await self.flush()

    def _on_event(self, event: mux.Event) -> None:
        match event:
            case mux.Restarted():
                self.ready.set()
            case mux.Data(number, data):
                self.queues[number].put_nowait(data)
                self._mux.consumed(number, len(data))
            case mux.Ended(number) | mux.Reset(number, _):
                self.queues[number].put_nowait(b"")

    async def dial(self, port: int) -> HostStream:
        await self.ready.wait()
        number = self._mux.open(port)
        self.queues[number] = asyncio.Queue()
        await self.flush()
        return HostStream(self, self._mux, number)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class HostStream:
    """One stream with the server's interface."""

    def __init__(self, end: HostEnd, own: mux.Mux, number: int) -> None:
        self._end, self._mux, self._number, self._output = end, own, number, b""

    async def read(self) -> bytes:
        return await self._end.queues[self._number].get()

    def write(self, data: bytes | memoryview) -> None:
        self._output += data

    async def drain(self) -> None:
        while self._output and self._number in self._mux.streams:
            taken = self._mux.send(self._number, self._output[:READ_BYTES])
            self._output = self._output[taken:]
            await self._end.flush()
            await asyncio.sleep(0)

    def write_eof(self) -> None:
        self._mux.end(self._number)

    def abort(self) -> None:
        self._mux.reset(self._number)

    async def close(self) -> None:
        self.abort()


def run(machine: FakeMachine, test: Callable[[HostEnd, socket.socket], Awaitable[None]]) -> None:
    async def bounded() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        async with asyncio.timeout(60), machine.agent() as app:
            port: MuxPort = app.listener.serve_port(theirs.detach())
            end = HostEnd(ours)
            try:
                await test(end, ours)
            finally:
                await end.close()
                port.close()
                ours.close()

    asyncio.run(bounded())


def test_requests_through_the_port(machine: FakeMachine) -> None:
    async def test(end: HostEnd, _: socket.socket) -> None:
        async def one() -> None:
            answer = await client.request(await end.dial(dial.PORT_API), "GET", "/v1/status")
            assert (await answer.json(schema.Status)).world == "running"

        await asyncio.gather(*[one() for _ in range(10)])

    run(machine, test)


def test_megabytes_both_ways_beyond_every_window(machine: FakeMachine) -> None:
    async def test(end: HostEnd, _: socket.socket) -> None:
        data = os.urandom(4 << 20)

        async def body() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 100_000):
                yield data[start : start + 100_000]

        stream = await end.dial(dial.PORT_API)
        answer = await client.request(stream, "PUT", "/v1/fs/write?path=/tmp/big", body=body())
        assert (await answer.json(schema.Written)).size == len(data)
        read = await client.request(await end.dial(dial.PORT_API), "GET", "/v1/fs/read?path=/tmp/big")
        assert hashlib.sha256(await read.body()).digest() == hashlib.sha256(data).digest()

    run(machine, test)


def test_a_new_host_process_is_served(machine: FakeMachine) -> None:
    async def test(end: HostEnd, connection: socket.socket) -> None:
        await client.request(await end.dial(dial.PORT_API), "GET", "/v1/version")
        await end.close()
        connection.send(mux.HEADER.pack(mux.Kind.DATA, 0, 20_000, 1) + b"torn")
        again = HostEnd(connection)
        answer = await client.request(await again.dial(dial.PORT_API), "GET", "/v1/version")
        assert answer.status == 200
        await again.close()

    run(machine, test)


def test_a_port_that_is_not_there_is_reset(machine: FakeMachine) -> None:
    async def test(end: HostEnd, _: socket.socket) -> None:
        assert await (await end.dial(10001)).read() == b""

    run(machine, test)
