"""The proxy: one WebSocket is one connection, made in the world's network, or else the machine's.

c → s  {"host":"localhost","port":8080}                     "protocol":"udp": datagrams, one a message
s → c  {"status":"connected","target":"localhost:8080"}     or {"status":"error","error":…} and a close
bytes both ways, as binary messages (text is taken as its bytes), until either side closes
"""

from __future__ import annotations

import asyncio
import socket

import msgspec

from .. import errors
from ..server.call import Call, WebSocket
from ..server.routing import Route
from ..server.stream import SocketStream
from ..wire import operations, schema, websocket
from . import datagrams, tcp_ports
from .datagrams import Datagrams
from .world import World

_FIRST_MESSAGE_S = 30.0
_CONNECT_S = 10.0
_encode = msgspec.json.Encoder().encode


class ProxyApi:
    """Connects in the network of `world`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [Route(operations.PROXY, self.proxy)]

    async def proxy(self, call: Call) -> None:
        """GET (WebSocket) /v1/proxy."""
        client = await call.accept_websocket()
        try:
            request = await _request(client)
            target = await self._connect(request)
        except (errors.PilotError, OSError, TimeoutError) as error:
            text = str(error) or "no connection in time"
            await client.send(_encode(schema.ProxyAnswer(status="error", error=text)).decode())
            await client.close(websocket.CLOSE_INTERNAL, "not connected")
            return
        try:
            name = f"{request.host}:{request.port}"
            await client.send(_encode(schema.ProxyAnswer(status="connected", target=name)).decode())
            await _relay(client, target)
        finally:
            await target.close()

    async def _connect(self, request: schema.ProxyRequest) -> SocketStream | Datagrams:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            found = await loop.getaddrinfo(request.host or "localhost", request.port, type=socket.SOCK_STREAM)
            targets: list[tcp_ports.Target] = [(family, address) for family, _, _, _, address in found]
            if request.protocol == "udp":
                # Nobody refuses a datagram, so there is one place that it can be for: most listen on IPv4.
                target = min(targets, key=lambda each: each[0] != socket.AF_INET)
                return await datagrams.connect(self._world.networks()[0], target)
            made = await tcp_ports.connect_any(self._world.networks(), targets, _CONNECT_S)
            return SocketStream(*await asyncio.open_connection(sock=made))


async def _request(client: WebSocket) -> schema.ProxyRequest:
    async with asyncio.timeout(_FIRST_MESSAGE_S):
        message = await client.receive()
    if isinstance(message, websocket.Closed):
        raise errors.PeerError("proxy: the client left before it said where to")
    try:
        request = msgspec.json.decode(message, type=schema.ProxyRequest)
    except errors.UNREADABLE as error:
        raise errors.PeerError(f"proxy: first message: {error}") from error
    if not 0 < request.port < 65536:
        raise errors.PeerError(f"proxy: {request.port} is no port")
    return request


async def _relay(client: WebSocket, target: SocketStream | Datagrams) -> None:
    """Until either side is done. A client's close ends both ways, the target's end closes the WebSocket."""
    copies = [asyncio.create_task(_to_target(client, target)), asyncio.create_task(_to_client(client, target))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        # A side that went away is how this ends, not an error.
        await asyncio.gather(*copies, return_exceptions=True)


async def _to_target(client: WebSocket, target: SocketStream | Datagrams) -> None:
    while not isinstance(message := await client.receive(), websocket.Closed):
        target.write(message if isinstance(message, bytes) else message.encode())
        await target.drain()


async def _to_client(client: WebSocket, target: SocketStream | Datagrams) -> None:
    while data := await target.read():
        await client.send(data)
    await client.close(websocket.CLOSE_NORMAL)
