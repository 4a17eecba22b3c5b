"""A machine that keeps all promises but one: another machine, and something between it and who asks.

async with between(machine.dial_path, Break("/v1/status", lambda answer: b"")) as path:
    …   # whoever dials `path` speaks to the machine, and gets no answer to GET /v1/status
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

Spoil = Callable[[bytes], bytes | None]


class Break(NamedTuple):
    """What is done to the whole answer to a request whose target starts so; None: it never comes."""

    target: str
    spoil: Spoil
    method: str = ""

    def hits(self, request: bytes) -> bool:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].decode("latin-1").partition("?")[0]
        return path == self.target and (not self.method or method == self.method.encode())


@contextlib.asynccontextmanager
async def between(real: str, broken: Break) -> AsyncIterator[str]:
    """The path of the machine that is broken so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await _relay(real, broken, reader, writer)

    async with _listening(serve) as path:
        yield path


@contextlib.asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    """A machine that says this to every request, and closes; None: it says nothing and goes on listening."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            first = await reader.readline()
            if answer is None:
                await reader.read()
                return
            writer.write(b"OK 10000\n")
            if first == b"CONNECT 10000\n":
                await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            with contextlib.suppress(ConnectionError):
                await writer.drain()

    async with _listening(serve) as path:
        yield path


@contextlib.asynccontextmanager
async def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object],
) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await serve(reader, writer)  # type: ignore[misc]
        finally:
            tasks.discard(task)

    with tempfile.TemporaryDirectory(prefix="pilot-broken-") as directory:
        path = os.path.join(directory, "dial.sock")
        server = await asyncio.start_unix_server(one, path)
        try:
            yield path
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _relay(real: str, broken: Break, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    from_machine, to_machine = await asyncio.open_unix_connection(real)
    with contextlib.closing(to_machine):
        to_machine.write(await reader.readline())
        line = await from_machine.readline()
        writer.write(line)
        request = await reader.read(65536) if line.startswith(b"OK 10000") else b""
        to_machine.write(request)
        if not broken.hits(request):
            await _both(reader, to_machine, from_machine, writer)
            return
        spoiled = broken.spoil(await from_machine.read())
        if spoiled is None:
            await reader.read()  # until the other side has had enough
        else:
            writer.write(spoiled)
            await writer.drain()


async def _both(
    reader: asyncio.StreamReader, to: asyncio.StreamWriter, back: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    pumps = [asyncio.create_task(_pump(reader, to)), asyncio.create_task(_pump(back, writer))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()
