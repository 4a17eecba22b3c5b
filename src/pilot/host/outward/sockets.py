"""The sockets that machines reach their host by: one for each, so that the socket says who asks.

    <machines>/<id>/out/host.sock     bound by each pilotd anew: who asks while there is none is refused, and asks again

All are served by one loop, in a thread of its own: so what machines ask and what people ask never wait for one another.
A machine has so many connections at once; its others wait in the backlog, which is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Coroutine, Sequence

from ... import errors
from ...ids import MachineId
from ...kernel import fds
from ...server import accepting
from ...server.connection import Connection
from ...server.routing import Router
from ...server.stream import SocketStream
from ...wire import dial, outward
from ..identity.rates import Rates
from . import rows

BACKLOG = 128
FIRST_LINE_S = 10.0
CLOSE_S = 5.0
KEEP_ALIVE_S = 10.0  # an agent asks once on each connection
BURST, PER_S = 100, 20.0
log = logging.getLogger(__name__)


class Outward:
    """Of all machines. From any thread. `everything`: the rows that each of them is answered; `rates`: how often;
    `told`: who writes down what they ask."""

    def __init__(
        self, everything: Sequence[rows.Row], rates: Rates | None = None, told: rows.Told | None = None
    ) -> None:
        self._told = told
        self._rows = everything
        self._rates = rates or Rates(BURST, PER_S)
        self._doors: dict[MachineId, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="outward", daemon=True)
        self._thread.start()

    def bring(self, more: Sequence[rows.Row]) -> None:
        """Rows of who comes to be after this; before the first machine is answered."""
        assert not self._doors, "machines are answered already"
        self._rows = [*self._rows, *more]

    def ensure(self, machine: MachineId, path: str) -> None:
        """It is answered at `path`, from now on; unless its directory has gone, which no socket may bring back. A host
        without room for a socket goes on, and says so."""
        try:
            if machine not in self._doors or not os.path.lexists(path):
                self._on_loop(self._open(machine, _listen(path)))
        except FileNotFoundError:
            log.info("machine has no directory to ask from", extra={"machine": machine})
        except OSError as error:
            log.error("machine cannot ask its host", extra={"machine": machine, "error": str(error)})

    def remove(self, machine: MachineId) -> None:
        """It is not answered any more; its connections end."""
        self._on_loop(self._close(machine))

    def close(self) -> None:
        """All of it ends; machines ask the next pilotd."""
        for machine in list(self._doors):
            self.remove(machine)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _on_loop(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self, machine: MachineId, listening: socket.socket) -> None:
        await self._close(machine)
        router = rows.router_for(rows.Caller(machine), self._rows, self._rates, self._told)
        self._doors[machine] = asyncio.create_task(
            accepting.accept(listening, outward.MOST_STREAMS, lambda connection: _serve(connection, router)),
            name=f"outward {machine}",
        )

    async def _close(self, machine: MachineId) -> None:
        door = self._doors.pop(machine, None)
        if door is not None:
            door.cancel()
            await asyncio.gather(door, return_exceptions=True)


def _listen(path: str) -> socket.socket:
    """Whoever finds the name finds it served. It is writable for all, in a directory that only root and one machine
    have."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(path), 0o755)
        with fds.short_path(os.path.dirname(path)) as directory:
            place = os.path.join(directory, os.path.basename(path))
            temporary = f"{place}.new"
            if os.path.lexists(temporary):
                os.unlink(temporary)
            listening.bind(temporary)
            os.chmod(temporary, 0o666)
            listening.listen(BACKLOG)
            os.rename(temporary, place)
    except BaseException:
        listening.close()
        raise
    return listening


async def _serve(connection: socket.socket, router: Router) -> None:
    connection.setblocking(False)
    try:
        rest = await _port_asked(connection)
        stream = await SocketStream.of_socket(connection, first=rest)
    except (errors.PeerError, OSError, TimeoutError):
        connection.close()  # it has gone, or was told why not
        return
    except BaseException:
        connection.close()
        raise
    await Connection(stream, router, keep_alive_s=KEEP_ALIVE_S).serve()


async def _port_asked(connection: socket.socket) -> bytes:
    """Read the CONNECT line and answer it; what came after it already. `PeerError` when it asks for something else."""
    loop = asyncio.get_running_loop()
    data = b""
    async with asyncio.timeout(FIRST_LINE_S):
        while b"\n" not in data and len(data) <= dial.MAX_LINE_BYTES:
            if not (more := await loop.sock_recv(connection, dial.MAX_LINE_BYTES)):
                raise errors.PeerError("outward: no CONNECT line")
            data += more
        line, end, rest = data.partition(b"\n")
        try:
            port = dial.parse_connect(line + end)
            if port != outward.PORT_HOST_API:
                raise errors.PeerError(f"{dial.NO_SUCH_PORT}: {port}")
        except errors.PeerError as error:
            await loop.sock_sendall(connection, dial.error_line(str(error)))
            raise
        await loop.sock_sendall(connection, dial.ok_line(port))
    return rest
