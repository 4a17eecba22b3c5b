"""Ports that a sprite begins to listen on while a terminal is open in it, as ports of this host.

ports/watch ► port_list (what is there already is nobody's of ours), then port_opened ─► a listener here
                                                                          port_closed ─► gone again
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading

from .. import errors
from . import output, proxying, websocket
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .account import Account

# Where a browser of this host looks for it.
_HOST = "127.0.0.1"
_TOLD = (401, 404)


@contextlib.contextmanager
def while_open(account: Account, sprite: str) -> Iterator[None]:
    """For as long as the block lasts. A server without such a watch is one without forwards."""
    try:
        watch = websocket.connect(account, sprite_path(sprite, "ports/watch"))
    except (websocket.Refused, errors.PeerError) as error:
        # Of a sprite that there is not, or a token that is none, the command itself will be told, in the same words.
        if not (isinstance(error, websocket.Refused) and error.status in _TOLD):
            output.tell_in_raw(f"sprite: ports are not forwarded: {error}")
        yield
        return
    stop_read, stop_write = os.pipe()
    forwards = Forwards(account, sprite)
    following = threading.Thread(target=_follow, args=(watch, stop_read, forwards), name="port-watch", daemon=True)
    following.start()
    try:
        yield
    finally:
        os.close(stop_write)
        following.join()
        os.close(stop_read)
        watch.close()
        forwards.close()


class Forwards:
    """The listeners that there are, by the sprite's port."""

    def __init__(self, account: Account, sprite: str) -> None:
        self._account = account
        self._sprite = sprite
        self._listeners: dict[int, socket.socket] = {}

    def take(self, message: dict[str, object]) -> None:
        """What the watch said."""
        port = message.get("port")
        if not isinstance(port, int):
            return
        if message.get("type") == "port_opened" and port not in self._listeners:
            self._open(port)
        elif message.get("type") == "port_closed" and (listener := self._listeners.pop(port, None)) is not None:
            _end(listener)

    def _open(self, port: int) -> None:
        listener = _listener(port)
        self._listeners[port] = listener
        threading.Thread(
            target=proxying.serve, args=(self._account, self._sprite, listener, port), name="forward", daemon=True
        ).start()
        output.tell_in_raw(f"port {port} of {self._sprite} is http://{_HOST}:{listener.getsockname()[1]}")

    def close(self) -> None:
        for listener in self._listeners.values():
            _end(listener)
        self._listeners.clear()


def _listener(port: int) -> socket.socket:
    """At the same number where that is free, else at any."""
    try:
        return socket.create_server((_HOST, port))
    except OSError:
        return socket.create_server((_HOST, 0))


def _end(listener: socket.socket) -> None:
    """Closing alone does not end an accept(2) that another thread is in."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _follow(watch: websocket.WebSocket, stop_fd: int, forwards: Forwards) -> None:
    while watch.close_code is None:
        if not watch.has_pending:
            poll = select.poll()
            poll.register(stop_fd, select.POLLIN)
            poll.register(watch, select.POLLIN | (select.POLLOUT if watch.wants_write else 0))
            if stop_fd in {number for number, _ in poll.poll()}:
                return
        watch.flush()
        for message in watch.read():
            forwards.take(json.loads(message))
