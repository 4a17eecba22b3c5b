"""A web server as bytes: it records all that it is sent, and answers what the test says, or what it was asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import h11

from tests.support import wire

Talk = Callable[[socket.socket, "Backend"], None]


class Backend:
    """`received` has the bytes of each connection, `talk` is what each does."""

    def __init__(self, talk: Talk | None = None, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.talk = talk or echo
        self.received: list[bytearray] = []
        self._family = family
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, name="backend")

    def start(self) -> None:
        """Listen; before that the port refuses."""
        self._listener.listen(64)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return  # closed
            stream.settimeout(wire.WAIT_S)
            record = bytearray()
            self.received.append(record)
            thread = threading.Thread(target=self._serve, args=(stream, record), name="backend-connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, stream: socket.socket, record: bytearray) -> None:
        # What breaks off in the middle is for tests to see by what came, and by what did not.
        with _Recorded(stream, record) as recorded, contextlib.suppress(OSError, h11.RemoteProtocolError):
            self._open.add(recorded)
            try:
                self.talk(recorded, self)
            finally:
                self._open.discard(recorded)

    @property
    def said(self) -> bytes:
        """All that came, on whatever connection."""
        return b"".join(bytes(each) for each in self.received)

    @property
    def connections(self) -> int:
        return len(self.received)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._accepting.is_alive():
            self._accepting.join(wire.WAIT_S)
        for stream in list(self._open):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(wire.WAIT_S)
            assert not thread.is_alive()


class _Recorded(socket.socket):
    """The same connection; what is read of it is noted."""

    def __init__(self, stream: socket.socket, record: bytearray) -> None:
        super().__init__(fileno=stream.detach())
        self.settimeout(wire.WAIT_S)
        self._record = record

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        self._record += data
        return data


@contextlib.contextmanager
def backend(talk: Talk | None = None, family: socket.AddressFamily = socket.AF_INET) -> Iterator[Backend]:
    """One that listens."""
    made = Backend(talk, family)
    made.start()
    try:
        yield made
    finally:
        made.close()


def read_head(stream: socket.socket) -> bytes:
    """Up to the end of a request's head, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        if not piece:
            return data
        data += piece
    return data


def says(answer: bytes) -> Talk:
    """Reads one head, says that, and closes."""

    def talk(stream: socket.socket, _: Backend) -> None:
        if read_head(stream):
            stream.sendall(answer)

    return talk


def echo(stream: socket.socket, _: Backend) -> None:
    """Tells each request as it was asked: line, headers in their order, body with trailers."""
    connection = h11.Connection(h11.SERVER)
    while True:
        told, body, headers = b"", b"", []
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    stream.sendall(_sent(connection, h11.InformationalResponse(status_code=100, headers=[])))
                data = stream.recv(65536)
                if not data and connection.their_state is h11.IDLE:
                    return
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                told = event.method + b" " + event.target + b"\n"
                headers = [name + b": " + value for name, value in event.headers]
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                headers += [b"trailer " + name + b": " + value for name, value in event.headers]
                break
            else:
                return
        told += b"\n".join(headers) + b"\n\n" + body
        head = h11.Response(status_code=200, headers=[("content-length", str(len(told))), ("x-from", "backend")])
        content = [] if told.startswith(b"HEAD ") else [h11.Data(data=told)]
        stream.sendall(b"".join(_sent(connection, item) for item in (head, *content, h11.EndOfMessage())))
        if set(connection.states.values()) != {h11.DONE}:
            return
        connection.start_next_cycle()


def _sent(connection: h11.Connection, event: h11.Event) -> bytes:
    return connection.send(event) or b""
