"""pilotd's listener and its event loop: connections are taken until `stop`, then those that do something may finish."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import errno
import logging
import resource
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, cast

import uvloop

from ... import errors
from . import crowd
from .edge import Edge, Route

log = logging.getLogger(__name__)

GRACE_S = 5.0
HANDSHAKE_S = 20.0
_NOT_OURS = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES})
BACKLOG = 1024
# Taken at once; each needs a descriptor before it is known whether there is a place for it.
ACCEPTED_AT_ONCE = 16
# Threads for what asks the store, volumed or a machine: one that waits long must not be waited for by all.
THREADS = 64


@dataclasses.dataclass(frozen=True)
class Door:
    """Where clients come in: a listening socket, which stays the caller's, and what they speak TLS by, if they do."""

    listener: socket.socket
    tls: ssl.SSLContext | None = None

    @property
    def address(self) -> str:
        """The URL that clients are given."""
        plain = address(self.listener)
        return plain if self.tls is None else "https" + plain.removeprefix("http")


class Listening(Protocol):
    """The part of a server that what runs beside it uses, on its loop."""

    @property
    def crowd(self) -> crowd.Crowd: ...

    async def accept(self, door: Door, make: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        """Take connections until the caller closes what is returned. `make`: whose each of them is."""
        ...

    def edge(self, route: Route) -> Edge:
        """A connection that HTTP is spoken on; the server ends it when it ends."""
        ...


# Runs as long as the server does; then it is cancelled.
Beside = Callable[[Listening], Awaitable[None]]


class Server:
    """`route` is asked for every request. `most` connections of a kind; else what this process's descriptors allow."""

    def __init__(
        self, route: Route, most: Mapping[crowd.Kind, int] | None = None, beside: Sequence[Beside] = ()
    ) -> None:
        self._route = route
        self._beside = beside
        self.crowd = crowd.Crowd(most or crowd.limits(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
        self._connections: set[Edge] = set()
        self._lock = threading.RLock()  # a signal's handler may interrupt who holds it
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._is_stopped = False

    def serve_on(self, *doors: Door) -> None:
        """Serve until `stop()`. Blocks, in any thread."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(doors))

    def stop(self) -> None:
        """From any thread, or a signal's handler; also before `serve_on`."""
        with self._lock:
            self._is_stopped = True
            if self._loop is not None and self._stopping is not None:
                with contextlib.suppress(RuntimeError):  # the loop has ended already
                    self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self, doors: Sequence[Door]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(THREADS, "pilotd-call"))
        stopping = asyncio.Event()
        with self._lock:
            self._loop, self._stopping = loop, stopping
            if self._is_stopped:
                stopping.set()
        accepting = [await self.accept(door, lambda: self.edge(self._route)) for door in doors]
        beside = [asyncio.create_task(_told(run(self)), name="beside") for run in self._beside]
        await stopping.wait()
        for each in accepting:
            each.close()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await self._end_connections()

    def edge(self, route: Route) -> Edge:
        """As `Listening.edge`."""
        return Edge(route, self._connections, self.crowd)

    async def accept(self, door: Door, make: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        """As `Listening.accept`."""
        accepting = await asyncio.get_running_loop().create_server(
            make,
            sock=door.listener.dup(),
            backlog=ACCEPTED_AT_ONCE,
            ssl=door.tls,
            ssl_handshake_timeout=None if door.tls is None else HANDSHAKE_S,
        )
        door.listener.listen(BACKLOG)  # asyncio takes its own backlog for both
        return accepting

    async def _end_connections(self) -> None:
        for edge in list(self._connections):
            edge.end_soon()
        try:
            async with asyncio.timeout(GRACE_S):
                await self._all_gone()
        except TimeoutError:
            for edge in list(self._connections):
                edge.abort()
            await self._all_gone()

    async def _all_gone(self) -> None:
        while self._connections:
            await next(iter(self._connections)).gone.wait()


async def _told(running: Awaitable[None]) -> None:
    try:
        await running
    except Exception:
        log.exception("what runs beside the server has ended")
        raise


def listen(host: str, port: int) -> socket.socket:
    """A bound, listening TCP socket; the port is the caller's to read when it asked for 0. `HostError` else."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by what is accepted. asyncio sets it only where a socket's protocol number is not 0; without it each
        # exit frame waits 40 ms for the acknowledgement of the output before it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:  # gaierror is one, too
        listener.close()
        hint = "choose another address: --listen HOST:PORT" if error.errno in _NOT_OURS else None
        raise errors.HostError(
            f"listen on {host} port {port}: {(error.strerror or str(error)).lower()}", hint=hint
        ) from error
    return listener


def address(listener: socket.socket) -> str:
    """The URL that clients are given."""
    host, port = cast(tuple[str, int], listener.getsockname()[:2])
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
