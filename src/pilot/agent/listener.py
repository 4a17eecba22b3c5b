"""Where the host comes in: a listening Unix socket that speaks CONNECT/OK, or a virtio port with the mux.

10000   the pilot API; before it, in a machine that has a run.json, the six routes of the old init (`front`)
10001   descriptors, on a Unix socket only (a port cannot carry them)
10002   a sign of life: nothing is asked, no limit applies
10003   the pilot API
65536 + a TCP port: what listens there, on loopback
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence

from .. import errors
from ..server.connection import Connection, ErrorAnswer
from ..server.mux_port import MuxPort, MuxStream
from ..server.routing import Router
from ..server.stream import SocketStream, Stream, relay
from ..wire import dial
from ..wire.operations import AnyOperation
from . import tcp_ports
from .admission import Admission
from .descriptors import MAX_MESSAGE_BYTES, Descriptors
from .readiness import readable

# Beyond `admission.CROWDED` most are answered 503; beyond this the backlog fills, and nobody is answered for a while.
MAX_CONNECTIONS = 1536
# Of those, to TCP ports: so that the API is reached whatever comes to them.
MAX_TCP = 768
_FIRST_LINE_S = 10.0
_MAX_FDS = 8
PORT_NAME = "pilot.0"
_PORTS = "/sys/class/virtio-ports"
_log = logging.getLogger(__name__)


class Listener:
    """Serves the API on whatever the machine has."""

    def __init__(
        self,
        router: Router,
        descriptors: Descriptors,
        error_answer: ErrorAnswer,
        networks: Callable[[], Sequence[int]] = lambda: (os.getpid(),),
        permit: Callable[[AnyOperation], None] = lambda _operation: None,
    ) -> None:
        """`networks`: a process of each network that TCP ports are looked for in. `permit` raises for what is not."""
        self._networks = networks
        self._routers = {dial.PORT_API: router, dial.PORT_PILOT: router}
        self._descriptors = descriptors
        self._error_answer = error_answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams = self._tcp_streams = 0
        self._left = asyncio.Event()
        self._admission = Admission(lambda: self._streams, permit)

    def front(self, router: Router) -> None:
        """New connections to port 10000 are answered by this one."""
        self._routers[dial.PORT_API] = router

    async def serve_socket(self, listening: socket.socket) -> None:
        """Accept until cancelled; borrows the socket."""
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                # EMFILE and the like: those that are there may end.
                _log.error("accept: %s", error.strerror)
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._serve(connection), name="connection")
            self._tasks.add(task)
            task.add_done_callback(self._on_left)
            while len(self._tasks) >= MAX_CONNECTIONS:
                self._left.clear()
                await self._left.wait()

    def _on_left(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._left.set()

    def serve_port(self, port_fd: int) -> MuxPort:
        """Serve a virtio port; takes the descriptor over. The caller closes what is returned."""
        return MuxPort(port_fd, self._serve_mux)

    async def close(self) -> None:
        """End all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve_mux(self, stream: MuxStream, port: int) -> None:
        if port in self._routers:
            stream.accept()
            await self._serve_api(stream, port)
        elif port == dial.PORT_HEALTH:
            stream.accept()
            await stream.close()
        elif (tcp_port := dial.as_tcp_port(port)) is not None:
            try:
                await self._serve_tcp(stream, tcp_port, stream.accept)
            except errors.PeerError as error:
                stream.refuse(str(error))

    async def _serve_tcp(self, stream: Stream, port: int, accept: Callable[[], None]) -> None:
        """`PeerError` when nothing listens there, or too many are here already; `accept` is called before any byte."""
        if self._tcp_streams >= MAX_TCP:
            raise errors.PeerError(f"port {port}: {MAX_TCP} connections to ports are open already")
        self._tcp_streams += 1
        try:
            target = await tcp_ports.connect(self._networks(), port)
            try:
                accept()
                await relay(stream, target)
            finally:
                target.abort()
        finally:
            self._tcp_streams -= 1

    async def _serve_api(self, stream: Stream, port: int) -> None:
        self._streams += 1
        try:
            await Connection(
                stream, self._routers[port], error_answer=self._error_answer, admission=self._admission.enter
            ).serve()
        finally:
            self._streams -= 1

    async def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            port, rest = await _first_line(connection)
            if port in self._routers:
                await asyncio.get_running_loop().sock_sendall(connection, dial.ok_line(port))
                await self._serve_api(await SocketStream.of_socket(connection.dup(), first=rest), port)
            elif (tcp_port := dial.as_tcp_port(port)) is not None:
                stream = await SocketStream.of_socket(connection.dup(), first=rest)
                try:
                    await self._serve_tcp(stream, tcp_port, lambda: stream.write(dial.ok_line(port)))
                finally:
                    await stream.close()
            elif port == dial.PORT_HEALTH:
                await asyncio.get_running_loop().sock_sendall(connection, dial.ok_line(port))
            elif port == dial.PORT_DESCRIPTORS and not rest:
                await asyncio.get_running_loop().sock_sendall(connection, dial.ok_line(port))
                await self._serve_descriptors(connection)
            else:
                raise errors.PeerError(f"{dial.NO_SUCH_PORT}: {port}")
        except errors.PeerError as error:
            _refuse(connection, str(error))
        except (OSError, TimeoutError):
            pass  # the client left, or said nothing: there is nobody to tell
        finally:
            connection.close()

    async def _serve_descriptors(self, connection: socket.socket) -> None:
        while True:
            await readable(connection.fileno())
            message, fds, flags, _ = socket.recv_fds(connection, MAX_MESSAGE_BYTES, _MAX_FDS, socket.MSG_CMSG_CLOEXEC)
            if not message:
                return
            if flags & socket.MSG_CTRUNC:
                for fd in fds:
                    os.close(fd)
                raise errors.PeerError("descriptors: too many at once, or too many are open here")
            try:
                self._descriptors.receive(message, fds)
            except errors.PilotError as error:
                connection.send(dial.error_line(str(error)))
                return
            connection.send(b"OK\n")


async def _first_line(connection: socket.socket) -> tuple[int, bytes]:
    """The port of the CONNECT line, and what came after it already."""
    loop, data = asyncio.get_running_loop(), b""
    async with asyncio.timeout(_FIRST_LINE_S):
        while b"\n" not in data:
            more = await loop.sock_recv(connection, dial.MAX_LINE_BYTES)
            if not more or len(data) > dial.MAX_LINE_BYTES:
                raise errors.PeerError("dial: no CONNECT line")
            data += more
    line, _, rest = data.partition(b"\n")
    return dial.parse_connect(line), rest


def _refuse(connection: socket.socket, reason: str) -> None:
    try:
        connection.send(dial.error_line(reason))
    except OSError:
        pass  # it has gone already


def find_port() -> str | None:
    """The device of the virtio port, by its name in sysfs: there is no udev to make links."""
    for device in os.listdir(_PORTS) if os.path.isdir(_PORTS) else ():
        with open(f"{_PORTS}/{device}/name") as file:
            if file.read().strip() == PORT_NAME:
                return f"/dev/{device}"
    return None
