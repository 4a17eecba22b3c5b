"""What is held of a connection that nobody reads."""

from __future__ import annotations

import asyncio
import pathlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvloop
from tests.support import tlssite

from pilot.host.network.connectors import outside
from pilot.host.network.connectors.outside import PIECE_BYTES

HOST = "api.test"


@asynccontextmanager
async def _connected(directory: pathlib.Path) -> AsyncIterator[asyncio.StreamWriter]:
    """TLS with a server that says nothing, by a pair of sockets."""
    authority = tlssite.Authority(directory)
    ours, theirs = socket.socketpair()
    served, writer = await asyncio.gather(
        asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, theirs, ssl=authority.context(HOST)),
        _open(ours, outside.trust(str(authority.path))),
    )
    yield writer
    writer.transport.abort()
    served[0].abort()


async def _open(ours: socket.socket, trusted: ssl.SSLContext) -> asyncio.StreamWriter:
    return (await asyncio.open_connection(sock=ours, ssl=trusted, server_hostname=HOST))[1]


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_little_is_held_of_each_connection(tmp_path: pathlib.Path, run: Any) -> None:
    async def limits() -> tuple[int, int]:
        async with _connected(tmp_path) as writer:
            outside.hold_little(writer)
            transport = cast(Any, writer.transport)
            return transport.get_write_buffer_limits()[1], transport.get_read_buffer_limits()[1]

    assert run(limits()) == (PIECE_BYTES, PIECE_BYTES)
