"""The HTTP server around `api`: uvicorn on a listener that the caller made, with our own protocol for upgrades."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Iterator
from typing import Any, cast

import uvicorn

from .api import app
from .api.access import Access
from .api.upgrade import Upgrade
from .head_deadline import PatientProtocol

GRACE_S = 5


class Server(uvicorn.Server):
    """Leaves signals to its owner."""

    def __init__(self, entry: Access) -> None:
        self.activity = entry.activity
        upgrade: Any = functools.partial(Upgrade, entry)
        super().__init__(
            uvicorn.Config(
                app.application(entry),
                ws=upgrade,
                http=PatientProtocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=1 << 20,  # long command lines travel in the query
            )
        )

    def serve_on(self, listener: socket.socket) -> None:
        """Serve until `stop()`. Blocks, in any thread."""
        self.run(sockets=[listener])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Takes none: uvicorn's own would raise them again at the end, and kill us before we have tidied up."""
        yield

    def stop(self) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A bound, listening TCP socket; the port is the caller's to read when it asked for 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by what is accepted. asyncio sets it only where a socket's protocol number is not 0; without it each
        # exit frame waits 40 ms for the acknowledgement of the output before it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    return listener


def address(listener: socket.socket) -> str:
    """The URL that clients are given."""
    host, port = cast(tuple[str, int], listener.getsockname()[:2])
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
