"""Messages between the client, volumed, its zygote and its workers: one JSON object per line on a Unix stream socket.
Which there are: `volume.requests`.

Descriptors ride on the first byte of a line (SCM_RIGHTS). One question at a time per connection. Paths of sockets are
opened relative to their directory, because a socket address holds only 107 bytes.
"""

from __future__ import annotations

import _thread
import json
import logging
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from .. import errors
from ..kernel import fds as descriptors
from .requests import base
from .requests.base import A, Answer, AnyRequest, Document, Failure, Request

Message = AnyRequest | Answer | Failure
_MAX_LINE_BYTES = 8 << 20
_MAX_FDS = 16
_NO_ROOM_PAUSE_S = 0.1
_log = logging.getLogger(__name__)


class Connection:
    """One side of a connection. Owns the socket; received descriptors belong to who takes them from the answer."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = b""

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send one message; the descriptors stay the caller's. PeerError when the other side is gone."""
        line = _encode(message)
        ancillary = descriptors.rights(fds)
        try:
            sent = self.socket.sendmsg([line], ancillary)
            if sent < len(line):  # even an empty send fails when the other side has its message and is gone
                self.socket.sendall(line[sent:])
        except OSError as error:
            raise errors.PeerError(f"send: {error.strerror or error}") from error

    def receive(self) -> tuple[Document, list[int]] | None:
        """The next message, in which nobody has looked yet, with its descriptors, or None at the end. PeerError when it
        is no message or too late."""
        fds: list[int] = []
        try:
            while b"\n" not in self._buffer:
                data, ancillary, _, _ = self.socket.recvmsg(
                    65536, socket.CMSG_SPACE(4 * _MAX_FDS), socket.MSG_CMSG_CLOEXEC
                )
                fds += descriptors.received(ancillary)
                if not data:
                    if self._buffer:
                        raise errors.PeerError("receive: ended in the middle of a message")
                    return None
                self._buffer += data
                if len(self._buffer) > _MAX_LINE_BYTES:
                    raise errors.PeerError("receive: message too long")
            line, _, self._buffer = self._buffer.partition(b"\n")
            return _parse(line), fds
        except BaseException as error:
            descriptors.close_all(fds)
            if isinstance(error, OSError):
                raise errors.PeerError(f"receive: {error.strerror or error}") from error
            raise

    def receive_answer(self, kind: type[A]) -> tuple[A, list[int]] | None:
        """An answer with its descriptors, or None at the end; the error of the other side is raised here."""
        received = self.receive()
        if received is None:
            return None
        document, fds = received
        try:
            return base.parse_answer(document, kind), fds
        except BaseException:
            descriptors.close_all(fds)
            raise

    def call(self, request: Request[A], fds: Sequence[int] = ()) -> tuple[A, list[int]]:
        """Ask, and wait for the answer; the error of the other side is raised here."""
        self.send(request, fds)
        received = self.receive_answer(base.answer_of(request))
        if received is None:
            raise errors.PeerError(f"{base.op_of(request)}: the other side went away")
        return received

    def requests(self, kinds: base.Kinds) -> Iterator[tuple[AnyRequest, list[int]]]:
        """What is asked until the end, with descriptors that are the taker's; what is none of `kinds` is refused."""
        while (received := self.receive()) is not None:
            document, fds = received
            try:
                request = kinds.parse(document)
            except errors.PeerError as error:
                descriptors.close_all(fds)
                self.send(Failure.of(error))
                continue
            yield request, fds

    def kill_peer(self) -> None:
        """kill -9 of the process at the other end, which listens and does not answer."""
        pid = peer_of(self.socket)
        if pid > 0:  # 0: of another pid namespace
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def _encode(message: Message) -> bytes:
    return json.dumps(msgspec.to_builtins(message, str_keys=True)).encode() + b"\n"  # ASCII, whatever is in a path


def _parse(line: bytes) -> Document:
    try:
        message = json.loads(line)
    except errors.UNREADABLE as error:
        raise errors.PeerError(f"receive: not JSON: {error}") from error
    if not isinstance(message, dict):
        raise errors.PeerError("receive: not a JSON object")
    return message


def peer_of(sock: socket.socket) -> int:
    """The pid of who listened at the other end of this socket (SO_PEERCRED)."""
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(pid)


def connect(path: str, timeout_s: float | None) -> Connection:
    """A connection to the socket at `path`; OSError when nobody listens. Each wait later has the same deadline."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        with descriptors.short_path(path) as short:
            sock.connect(short)
    except BaseException:
        sock.close()
        raise
    return Connection(sock)


def serve_each(listener: socket.socket, serve: Callable[[socket.socket], None], name: str) -> None:
    """Every connection in a thread of its own, for ever.

    While there is no room for one (descriptors, memory, threads) it waits in the queue, or is hung up on: who runs out
    of something for a moment must not be deaf from then on.
    """
    while True:
        try:
            sock, _ = listener.accept()
        except OSError as error:
            _log.error("accept: %s", error.strerror or error)
            time.sleep(_NO_ROOM_PAUSE_S)
            continue
        try:
            # Not a `Thread`, whose start() waits for ever for one that ended of want of memory before it began.
            _thread.start_new_thread(serve, (sock,))
        except (RuntimeError, MemoryError) as error:  # the former is how Python says that there is no thread
            _log.error("%s: %s", name, error)
        del sock  # the thread's alone: if it came to nothing, the other side hears of it


def listen(path: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A listening socket at `path`, in place of whatever socket was there; only root may connect."""
    sock = socket.socket(socket.AF_UNIX, kind)
    temporary = f"{path}.{os.getpid()}"
    try:
        with descriptors.short_path(temporary) as short:
            sock.bind(short)
        os.chmod(temporary, 0o600)
        sock.listen(64)
        os.rename(temporary, path)
    except BaseException:
        sock.close()
        raise
    return sock
