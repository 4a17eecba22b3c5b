"""A socket that those inside find served, whichever agent there is: bound once in a machine's life, and kept in init's
store, so that who connects while there is no agent waits for the next one."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

from ...kernel import fds
from ...server import accepting
from ...server.connection import Connection, ErrorAnswer
from ...server.routing import Route, Router
from ...server.stream import SocketStream
from ..machine import Link

MOST = 32
HEAD_BYTES = 64 << 10
BACKLOG = 128


class Listening:
    """At `path`, known to init as `store_name`; `mode`: who may connect. What is asked there is bounded: so many
    connections, and the rest waits in the backlog."""

    def __init__(
        self, link: Link, store_name: str, path: str, mode: int, routes: Sequence[Route], error_answer: ErrorAnswer
    ) -> None:
        self._link = link
        self._store_name = store_name
        self._path = path
        self._mode = mode
        self._router = Router(routes)
        self._error_answer = error_answer
        self._accepting: asyncio.Task[None] | None = None

    def open(self) -> None:
        """On the running loop; a former agent's socket is gone on with. `OSError`."""
        listening = self._listening()
        self._accepting = asyncio.create_task(accepting.accept(listening, MOST, self._serve), name=self._store_name)

    async def close(self) -> None:
        """Leave the socket to the next agent."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)

    def _listening(self) -> socket.socket:
        if self._store_name in self._link.inherited:
            return socket.socket(fileno=self._link.take(self._store_name))
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with fds.short_path(self._path) as place:
            if os.path.lexists(place):
                os.unlink(place)
            listening.bind(place)
            os.chmod(place, self._mode)
        listening.listen(BACKLOG)
        self._link.put(self._store_name, listening.fileno())
        return listening

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            stream = await SocketStream.of_socket(connection)
        except OSError:
            connection.close()  # it has gone already
            return
        await Connection(stream, self._router, error_answer=self._error_answer, head_bytes=HEAD_BYTES).serve()
