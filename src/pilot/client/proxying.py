"""`sprite proxy`: ports of a sprite as ports of this host, one WebSocket for each connection; of UDP: `datagrams`.

client ─ our listener ─ {"host": "localhost", "port": N} ► ◄ {"status": "connected"} ─ bytes both ways
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading

from .. import errors
from . import datagrams, output, websocket
from .api import sprite_path
from .words import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .account import Account
    from .context import Context

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
PIECE_BYTES = 1 << 16
BACKLOG_BYTES = 1 << 20
LINGER_S = 60


def proxy(context: Context) -> int | None:
    account, sprite = context.account, context.sprite
    said = context.said.arguments("PORT")
    if context.said.has("stdio"):
        if len(said) != 1:
            raise UsageError("-W takes one port")
        host, port = parse_target(said[0])
        _copy(_connected(account, sprite, host, port), 0, lambda data: output.write_all(1, data), lambda: None)
        return 0
    ports = [parse_ports(text) for text in said]
    bind = context.said.option("bind") or "127.0.0.1"
    sockets = [(_listen(bind, local, kind), remote, kind) for local, remote, kind in ports]
    for ours, remote, kind in sockets:
        host, port = ours.getsockname()[:2]
        output.line(f"{host}:{port} -> {sprite}:{remote}{'' if kind == TCP else '/udp'}")
    sys.stdout.flush()
    for ours, remote, kind in sockets[1:]:
        threading.Thread(target=_serve, args=(account, sprite, ours, remote, kind), name="proxy", daemon=True).start()
    _serve(account, sprite, *sockets[0])
    return 0


def _serve(account: Account, sprite: str, ours: socket.socket, remote: int, kind: socket.SocketKind) -> None:
    if kind == TCP:
        serve(account, sprite, ours, remote)
        return
    datagrams.serve(lambda: _connected(account, sprite, "localhost", remote, "udp"), ours)


def parse_ports(text: str) -> tuple[int, int, socket.SocketKind]:
    """`LOCAL:REMOTE`, or one for both; behind them perhaps `/udp`."""
    text, _, protocol = text.partition("/")
    if protocol not in ("", "tcp", "udp"):
        raise UsageError(f"{protocol!r} is no protocol", hint="8080, or 5353:53/udp")
    local, _, remote = text.partition(":")
    found = [int(each) for each in (local, remote or local) if each.isascii() and each.isdecimal()]
    if len(found) != 2 or not all(0 <= port <= 65535 for port in found) or not found[1]:
        raise UsageError(f"{text!r} is no port", hint="8080, or 3001:3000 for LOCAL:REMOTE")
    return found[0], found[1], UDP if protocol == "udp" else TCP


def parse_target(text: str) -> tuple[str, int]:
    """`PORT`, or `HOST:PORT` as the sprite sees it: what it runs may listen elsewhere than on its loopback."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) <= 65535):
        raise UsageError(f"{text!r} is no port", hint="8080, or HOST:8080")
    return host.strip("[]") or "localhost", int(port)


def _listen(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if kind == TCP:
            return socket.create_server((host, port), family=family)
        made = socket.socket(family, kind)
        made.bind((host, port))
        return made
    except OSError as error:
        raise errors.HostError(f"listen on {host}:{port}: {(error.strerror or str(error)).lower()}") from error


def serve(account: Account, sprite: str, listener: socket.socket, remote: int) -> None:
    """Until the listener is closed."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # closed
        threading.Thread(
            target=_one, args=(account, sprite, client, remote), name="proxy-connection", daemon=True
        ).start()


def _one(account: Account, sprite: str, client: socket.socket, remote: int) -> None:
    with client:
        try:
            _copy(
                _connected(account, sprite, "localhost", remote),
                client.fileno(),
                client.sendall,
                lambda: client.shutdown(socket.SHUT_WR),
            )
        except (errors.PilotError, OSError) as error:
            output.tell(f"sprite: {sprite}:{remote}: {error}")


def _connected(account: Account, sprite: str, host: str, port: int, protocol: str | None = None) -> websocket.WebSocket:
    """`PilotError` when nobody listens there, as far as that can be known. `protocol`: udp; None: TCP."""
    made = websocket.connect(account, sprite_path(sprite, "proxy"))
    made.send(json.dumps({"host": host, "port": port} | ({"protocol": protocol} if protocol else {})))
    while made.close_code is None:
        select.select([made], [made] if made.wants_write else [], [])
        made.flush()
        for message in made.read():
            answer = json.loads(message)
            if answer.get("status") == "connected":
                return made
            raise errors.PeerError(str(answer.get("error") or "refused"))
    raise errors.PeerError(made.close_reason or "the server closed the connection")


def _copy(remote: websocket.WebSocket, local_fd: int, write: Callable[[bytes], None], end: Callable[[], None]) -> None:
    """Until the sprite's side ends; ours may end before."""
    is_open = True
    try:
        while remote.close_code is None:
            poll = select.poll()
            poll.register(remote, select.POLLIN | (select.POLLOUT if remote.wants_write else 0))
            if is_open and remote.backlog_bytes < BACKLOG_BYTES:
                poll.register(local_fd, select.POLLIN)
            wait_ms = 0 if remote.has_pending else None if is_open else 1000 * LINGER_S
            ready = {number for number, _ in poll.poll(wait_ms)}
            if not ready and not is_open and not remote.has_pending:
                remote.leave()  # ours has said all, and the other side has had its time to answer
                return
            if local_fd in ready:
                data = os.read(local_fd, PIECE_BYTES)
                is_open = bool(data)
                if data:
                    remote.send(data)
            remote.flush()
            for message in remote.read():
                write(message if isinstance(message, bytes) else message.encode())
        end()
    finally:
        remote.close()
