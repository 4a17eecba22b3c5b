"""The socket at /.sprite/api.sock, and the files beside it.

    <run>/inside/api.sock       bound once in a machine's life, and kept in init's store: who connects while there is
                                no agent waits for the next one
    <run>/inside/bin/           sprite-env
    <run>/inside/llm.txt  version.txt

The world has them as bind mounts, read-only but for the socket. What it asks is bounded: so many connections, and the
rest waits in the backlog.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence

import pilot

from ... import errors
from ...kernel import fds
from ...server import accepting
from ...server.connection import Connection, ErrorAnswer
from ...server.routing import Route, Router
from ...server.stream import SocketStream
from ..machine import Link
from . import places, sprite_env, texts

STORE_NAME = "agent/inside"
MOST = 32
HEAD_BYTES = 64 << 10
BACKLOG = 128
_log = logging.getLogger(__name__)


class Door:
    """One per machine. `directory` is the machine's; `routes` are what those inside may ask."""

    def __init__(self, link: Link, directory: str, routes: Sequence[Route], error_answer: ErrorAnswer) -> None:
        self._link = link
        self._directory = directory
        self._router = Router(routes)
        self._error_answer = error_answer
        self._accepting: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Be there, on the running loop; a former agent's socket is gone on with. A world does without what fails."""
        try:
            self._open()
        except (OSError, errors.PilotError) as error:
            _log.error("nothing of ours is inside: %s", error)

    def _open(self) -> None:
        os.makedirs(f"{self._directory}/bin", mode=0o755, exist_ok=True)
        _put(f"{self._directory}/bin/sprite-env", sprite_env.source(), 0o755)
        _put(f"{self._directory}/llm.txt", texts.LLM.encode(), 0o644)
        _put(f"{self._directory}/version.txt", f"{pilot.__version__}\n".encode(), 0o644)
        self._accepting = asyncio.create_task(accepting.accept(self._listening(), MOST, self._serve), name="inside")

    async def close(self) -> None:
        """Leave the socket to the next agent."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)

    def _listening(self) -> socket.socket:
        if STORE_NAME in self._link.inherited:
            return socket.socket(fileno=self._link.take(STORE_NAME))
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with fds.short_path(os.path.join(self._directory, places.SOCKET[0])) as place:
            if os.path.lexists(place):
                os.unlink(place)
            listening.bind(place)
            os.chmod(place, 0o666)  # whoever is in the sprite
        listening.listen(BACKLOG)
        self._link.put(STORE_NAME, listening.fileno())
        return listening

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            stream = await SocketStream.of_socket(connection)
        except OSError:
            connection.close()  # it has gone already
            return
        await Connection(stream, self._router, error_answer=self._error_answer, head_bytes=HEAD_BYTES).serve()


def _put(path: str, content: bytes, mode: int) -> None:
    """In place: what is bound in a world stays the file that it is."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.truncate(0)
        file.write(content)
        os.fchmod(fd, mode)
