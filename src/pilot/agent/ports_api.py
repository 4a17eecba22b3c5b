"""ports/watch: which TCP ports the machine listens on, first as a list, then each change.

    s → c  {"type":"port_list","ports":[{"port","address","pid"}…]}
    s → c  {"type":"port_opened"|"port_closed","port","address","pid"}

The kernel tells nobody that a socket listens, so the tables are read every INTERVAL_S while somebody watches: those of
the world, and those of the machine's other containers. Where both listen on one port of one address it is the world's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from ..kernel import listening
from ..kernel.listening import Listening
from ..server.call import Call, WebSocket
from ..server.routing import Route
from ..wire import operations, schema, websocket
from ..wire.exec_frames import KEEPALIVE, PortChange
from .world import World

INTERVAL_S = 0.5
_KEEPALIVE_S = 10.0
_encode = msgspec.json.Encoder().encode
_Key = tuple[int, str]
Ports = dict[_Key, int]  # pid by port and address


class PortsApi:
    """Tells of the ports of `world`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [Route(operations.WATCH_PORTS, self.watch)]

    async def watch(self, call: Call) -> None:
        """GET (WebSocket) /v1/ports/watch."""
        socket = await call.accept_websocket()
        writer = asyncio.create_task(_write(socket, self._look), name="ports writer")
        try:
            while not isinstance(await socket.receive(), websocket.Closed):
                pass  # nothing that a client says here means anything
        finally:
            writer.cancel()
            # A client that went away is how this ends.
            await asyncio.gather(writer, return_exceptions=True)

    def _look(self, known: Ports) -> Ports:
        found: Ports = {}
        for pid in reversed(self._world.networks()):
            with contextlib.suppress(FileNotFoundError):  # the world has just ended
                found |= look(pid, known)
        return found


async def _write(socket: WebSocket, look_again: Callable[[Ports], Ports]) -> None:
    known = await asyncio.to_thread(look_again, {})
    rows = [schema.Port(port=port, address=address, pid=pid) for (port, address), pid in sorted(known.items())]
    await socket.send(_encode(schema.PortList(ports=rows)).decode())
    silent_s = 0.0
    while True:
        await asyncio.sleep(INTERVAL_S)
        now = await asyncio.to_thread(look_again, known)
        changes = differences(known, now)
        for change in changes:
            await socket.send(_encode(change).decode())
        known, silent_s = now, 0.0 if changes else silent_s + INTERVAL_S
        if silent_s >= _KEEPALIVE_S:
            await socket.send(KEEPALIVE)
            silent_s = 0.0


def differences(before: Ports, now: Ports) -> list[PortChange]:
    """What has been closed, then what has been opened."""
    closed = [("port_closed", key, before[key]) for key in sorted(before.keys() - now.keys())]
    opened = [("port_opened", key, now[key]) for key in sorted(now.keys() - before.keys())]
    return [
        PortChange(type=kind, port=port, address=address, pid=pid) for kind, (port, address), pid in closed + opened
    ]


def look(pid: int, known: Ports) -> Ports:
    """Of the network namespace of `pid`; owners are looked up for new sockets only (0: nobody that we can see). Blocks;
    `FileNotFoundError`: that process has ended."""
    rows: dict[_Key, Listening] = {(row.port, row.address): row for row in listening.read_listening(pid)}
    new = {key: row for key, row in rows.items() if key not in known}
    owners = listening.find_owners({row.inode for row in new.values()}) if new else {}
    return {key: known[key] if key in known else owners.get(row.inode, 0) for key, row in rows.items()}
