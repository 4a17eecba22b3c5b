"""ports/watch: which TCP ports the machine listens on, first as a list, then each change.

    s → c  {"type":"port_list","ports":[{"port","address","pid"}…]}
    s → c  {"type":"port_opened"|"port_closed","port","address","pid"}

The kernel tells nobody that a socket listens, so the tables are read every INTERVAL_S while somebody watches.
"""

from __future__ import annotations

import asyncio

import msgspec

from ..kernel import listening
from ..kernel.listening import Listening
from ..server.call import Call, WebSocket
from ..wire import schema, websocket
from ..wire.exec_frames import KEEPALIVE, PortChange

INTERVAL_S = 0.5
_KEEPALIVE_S = 10.0
_encode = msgspec.json.Encoder().encode
_Key = tuple[int, str]


async def watch(call: Call) -> None:
    """GET (WebSocket) /v1/ports/watch."""
    socket = await call.accept_websocket()
    writer = asyncio.create_task(_write(socket), name="ports writer")
    try:
        while not isinstance(await socket.receive(), websocket.Closed):
            pass  # nothing that a client says here means anything
    finally:
        writer.cancel()
        # A client that went away is how this ends.
        await asyncio.gather(writer, return_exceptions=True)


async def _write(socket: WebSocket) -> None:
    known = await asyncio.to_thread(_look, {})
    rows = [schema.Port(port=port, address=address, pid=pid) for (port, address), pid in sorted(known.items())]
    await socket.send(_encode(schema.PortList(ports=rows)).decode())
    silent_s = 0.0
    while True:
        await asyncio.sleep(INTERVAL_S)
        now = await asyncio.to_thread(_look, known)
        changes = differences(known, now)
        for change in changes:
            await socket.send(_encode(change).decode())
        known, silent_s = now, 0.0 if changes else silent_s + INTERVAL_S
        if silent_s >= _KEEPALIVE_S:
            await socket.send(KEEPALIVE)
            silent_s = 0.0


def differences(before: dict[_Key, int], now: dict[_Key, int]) -> list[PortChange]:
    """What has been closed, then what has been opened."""
    closed = [("port_closed", key, before[key]) for key in sorted(before.keys() - now.keys())]
    opened = [("port_opened", key, now[key]) for key in sorted(now.keys() - before.keys())]
    return [
        PortChange(type=kind, port=port, address=address, pid=pid) for kind, (port, address), pid in closed + opened
    ]


def _look(known: dict[_Key, int]) -> dict[_Key, int]:
    """Pid by port and address; owners are looked up for new sockets only (0: nobody that we can see). Blocks."""
    rows: dict[_Key, Listening] = {(row.port, row.address): row for row in listening.read_listening()}
    new = {key: row for key, row in rows.items() if key not in known}
    owners = listening.find_owners({row.inode for row in new.values()}) if new else {}
    return {key: known[key] if key in known else owners.get(row.inode, 0) for key, row in rows.items()}
