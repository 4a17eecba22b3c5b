"""A machine that answers whatever a test wants it to, without being one."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
from collections.abc import Callable, Iterator

Say = Callable[[socket.socket], None]


@contextlib.contextmanager
def machine(path: pathlib.Path, say: Say) -> Iterator[None]:
    """Answers every connection with OK, reads what is asked, then says what the test wants said, and closes."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, say), daemon=True, name="hostile-machine")
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def saying(data: bytes) -> Say:
    """These bytes, and no more."""
    return lambda stream: stream.sendall(data)


def _serve(listener: socket.socket, say: Say) -> None:
    with contextlib.suppress(OSError):
        while True:
            stream, _ = listener.accept()
            with stream, contextlib.suppress(OSError):
                stream.recv(100)
                stream.sendall(b"OK 10000\n")
                stream.recv(65536)
                say(stream)
