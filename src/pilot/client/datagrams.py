"""`sprite proxy PORT/udp`: a WebSocket for each address that sends us datagrams, until both are silent.

client ─ our socket ─ {"host": "localhost", "port": N, "protocol": "udp"} ► ◄ {"status": "connected"} ─ a message each
"""

from __future__ import annotations

import select
import time

from .. import errors
from . import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from . import websocket

IDLE_S = 60
MOST = 64
BACKLOG_BYTES = 1 << 18
_BYTES = 65535


class Conversation:
    """With one address."""

    def __init__(self, remote: websocket.WebSocket) -> None:
        self.remote = remote
        self.at_s = time.monotonic()

    def send(self, data: bytes) -> None:
        """What a server that takes nothing would keep us holding is lost."""
        self.at_s = time.monotonic()
        if self.remote.backlog_bytes < BACKLOG_BYTES:
            self.remote.send(data)


def serve(connect: Callable[[], websocket.WebSocket], ours: socket.socket) -> None:
    """For ever. `connect()` makes another way to the sprite's port."""
    known: dict[Any, Conversation] = {}
    while True:
        ready = _wait(ours, known)
        if ours.fileno() in ready:
            _take(connect, ours, known)
        for address, conversation in list(known.items()):
            if not _answers(ours, address, conversation):
                known.pop(address).remote.close()


def _wait(ours: socket.socket, known: dict[Any, Conversation]) -> set[int]:
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    for conversation in known.values():
        remote = conversation.remote
        poll.register(remote, select.POLLIN | (select.POLLOUT if remote.wants_write else 0))
    is_waiting = any(conversation.remote.has_pending for conversation in known.values())
    return {number for number, _ in poll.poll(0 if is_waiting else 1000 * IDLE_S if known else None)}


def _take(connect: Callable[[], websocket.WebSocket], ours: socket.socket, known: dict[Any, Conversation]) -> None:
    data, address = ours.recvfrom(_BYTES)
    try:
        if address not in known:
            if len(known) >= MOST:
                known.pop(min(known, key=lambda each: known[each].at_s)).remote.close()
            known[address] = Conversation(connect())
        known[address].send(data)
    except (errors.PilotError, OSError) as error:
        output.tell(f"sprite: a datagram is lost: {error}")


def _answers(ours: socket.socket, address: Any, conversation: Conversation) -> bool:
    """Pass on what has come. False: it is over."""
    remote = conversation.remote
    try:
        remote.flush()
        for message in remote.read():
            conversation.at_s = time.monotonic()
            ours.sendto(message if isinstance(message, bytes) else message.encode(), address)
    except (errors.PilotError, OSError) as error:
        output.tell(f"sprite: {address[0]}: {error}")
        return False
    return remote.close_code is None and time.monotonic() - conversation.at_s < IDLE_S
