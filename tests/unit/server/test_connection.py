"""One stream of HTTP/1.1, served."""

from __future__ import annotations

import asyncio
import socket
from types import NoneType

from pilot.server.call import Call
from pilot.server.connection import Connection
from pilot.server.response import Response
from pilot.server.routing import Route, Router
from pilot.server.stream import SocketStream
from pilot.wire import faults
from pilot.wire.operations import Operation
from pilot.wire.permissions import Permission

_UPLOAD = Operation("upload", "POST", "/upload", bytes, NoneType, Permission.HOST)


async def _refuse(_: Call) -> Response:
    raise faults.PermissionDenied("no")


def test_who_still_sends_a_body_that_is_refused_reads_why() -> None:
    """The answer is there before the body is sent; with more of it than is looked at the connection ends."""
    asyncio.run(_refused(1 << 10, is_taken=True))
    asyncio.run(_refused(64 << 20, is_taken=False))


async def _refused(length: int, *, is_taken: bool) -> None:
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
    serving = asyncio.create_task(
        Connection(await SocketStream.of_socket(theirs), Router([Route(_UPLOAD, _refuse)])).serve()
    )
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        await loop.sock_sendall(ours, f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        said = b""
        while not said.endswith(b"}"):
            said += await loop.sock_recv(ours, 65536)
        assert said.startswith(b"HTTP/1.1 403 ")
        try:
            await loop.sock_sendall(ours, bytes(length))
            was_taken = True
        except (BrokenPipeError, ConnectionResetError):
            was_taken = False
        assert was_taken is is_taken
        if is_taken:
            assert await loop.sock_recv(ours, 65536) == b""
        await serving
    ours.close()
