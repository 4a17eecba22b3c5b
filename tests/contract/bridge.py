"""A TCP port whose connections are those of a machine's dial socket, for programs that only know URLs."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

from pilot.wire import dial


@contextlib.contextmanager
def bridged(dial_path: str, port: int = dial.PORT_API) -> Iterator[str]:
    """The URL, for as long as the block lasts."""

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as machine, contextlib.suppress(OSError):
                machine.connect(dial_path)
                machine.sendall(f"CONNECT {port}\n".encode())
                while machine.recv(1) not in (b"\n", b""):
                    pass
                _join(self.request, machine)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="bridge")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _join(client: socket.socket, machine: socket.socket) -> None:
    """Until the machine has said all: one that answers early need not read what it was sent."""
    sending = threading.Thread(target=_copy, args=(client, machine), daemon=True)
    sending.start()
    _copy(machine, client)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    sending.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
