"""The TCP proxy: one WebSocket is one connection to a port of the machine.

c → s  {"host":"localhost","port":8080}
s → c  {"status":"connected","target":"localhost:8080"}     or {"status":"error","error":…} and a close
bytes both ways, as binary messages (text is taken as its bytes), until either side closes
"""

from __future__ import annotations

import asyncio

import msgspec

from .. import errors
from ..server.call import Call, WebSocket
from ..server.stream import SocketStream
from ..wire import schema, websocket

_FIRST_MESSAGE_S = 30.0
_CONNECT_S = 10.0
_encode = msgspec.json.Encoder().encode


async def proxy(call: Call) -> None:
    """GET (WebSocket) /v1/proxy."""
    socket = await call.accept_websocket()
    try:
        request = await _request(socket)
        target = await _connect(request)
    except (errors.PeerError, OSError, TimeoutError) as error:
        text = str(error) or "no connection in time"
        await socket.send(_encode(schema.ProxyAnswer(status="error", error=text)).decode())
        await socket.close(websocket.CLOSE_INTERNAL, "not connected")
        return
    try:
        name = f"{request.host}:{request.port}"
        await socket.send(_encode(schema.ProxyAnswer(status="connected", target=name)).decode())
        await _relay(socket, target)
    finally:
        await target.close()


async def _request(socket: WebSocket) -> schema.ProxyRequest:
    async with asyncio.timeout(_FIRST_MESSAGE_S):
        message = await socket.receive()
    if isinstance(message, websocket.Closed):
        raise errors.PeerError("proxy: the client left before it said where to")
    try:
        request = msgspec.json.decode(message, type=schema.ProxyRequest)
    except errors.UNREADABLE as error:
        raise errors.PeerError(f"proxy: first message: {error}") from error
    if not 0 < request.port < 65536:
        raise errors.PeerError(f"proxy: {request.port} is no port")
    return request


async def _connect(request: schema.ProxyRequest) -> SocketStream:
    async with asyncio.timeout(_CONNECT_S):
        return SocketStream(*await asyncio.open_connection(request.host or "localhost", request.port))


async def _relay(socket: WebSocket, target: SocketStream) -> None:
    """Until either side is done. A client's close ends both ways, the target's end closes the WebSocket."""
    copies = [asyncio.create_task(_to_target(socket, target)), asyncio.create_task(_to_client(socket, target))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        # A side that went away is how this ends, not an error.
        await asyncio.gather(*copies, return_exceptions=True)


async def _to_target(socket: WebSocket, target: SocketStream) -> None:
    while not isinstance(message := await socket.receive(), websocket.Closed):
        target.write(message if isinstance(message, bytes) else message.encode())
        await target.drain()


async def _to_client(socket: WebSocket, target: SocketStream) -> None:
    while data := await target.read():
        await socket.send(data)
    await socket.close(websocket.CLOSE_NORMAL)
