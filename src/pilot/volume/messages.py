"""Messages between the client, volumed, its zygote and its workers: one JSON object per line on a Unix stream socket.

    request   {"op": name, ...}\\n
    answer    {"ok": true, ...}\\n
              {"ok": false, "error": text, "kind": child of PilotError, "hint": text or null}\\n

Descriptors ride on the first byte of a line (SCM_RIGHTS). One question at a time per connection. Paths of sockets are
opened relative to their directory, because a socket address holds only 107 bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from .. import errors
from ..kernel import fds as descriptors

# One JSON object: what is in it is for whoever asked for it to check.
Message = dict[str, Any]
_MAX_LINE_BYTES = 8 << 20
_MAX_FDS = 16
_KINDS: dict[str, type[errors.PilotError]] = {
    kind.__name__: kind
    for kind in (
        errors.PilotError, errors.StateError, errors.HostError, errors.PeerError, errors.Conflict, errors.NotFound,
    )
}  # fmt: skip


class Connection:
    """One side of a connection. Owns the socket; received descriptors belong to who takes them from the answer."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = b""

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send one message; the descriptors stay the caller's. PeerError when the other side is gone."""
        line = json.dumps(message).encode() + b"\n"
        ancillary = descriptors.rights(fds)
        try:
            sent = self.socket.sendmsg([line], ancillary)
            if sent < len(line):  # even an empty send fails when the other side has its message and is gone
                self.socket.sendall(line[sent:])
        except OSError as error:
            raise errors.PeerError(f"send: {error.strerror or error}") from error

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message with its descriptors, or None at the end. PeerError when it is no message or too late."""
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

    def call(self, op: str, fds: Sequence[int] = (), /, **arguments: object) -> tuple[Message, list[int]]:
        """Ask, and wait for the answer; the error of the other side is raised here."""
        self.send({"op": op, **arguments}, fds)
        received = self.receive()
        if received is None:
            raise errors.PeerError(f"{op}: the other side went away")
        answer, answer_fds = received
        if answer.get("ok") is not True:
            descriptors.close_all(answer_fds)
            raise error_of(answer)
        return answer, answer_fds

    def kill_peer(self) -> None:
        """kill -9 of the process at the other end, which listens and does not answer."""
        pid = peer_of(self.socket)
        if pid > 0:  # 0: of another pid namespace
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def _parse(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except errors.UNREADABLE as error:
        raise errors.PeerError(f"receive: not JSON: {error}") from error
    if not isinstance(message, dict):
        raise errors.PeerError("receive: not a JSON object")
    return message


def error_answer(error: Exception) -> Message:
    """An error as the answer that `error_of` turns back."""
    kind = type(error).__name__ if type(error).__name__ in _KINDS else "PilotError"
    return {"ok": False, "error": str(error), "kind": kind, "hint": getattr(error, "hint", None)}


def error_of(answer: Message) -> errors.PilotError:
    """The error that an answer tells of."""
    kind = _KINDS.get(str(answer.get("kind")), errors.PilotError)
    return kind(str(answer.get("error")), hint=answer.get("hint"))


def peer_of(sock: socket.socket) -> int:
    """The pid of who listened at the other end of this socket (SO_PEERCRED)."""
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(pid)


@contextlib.contextmanager
def short_path(path: str) -> Iterator[str]:
    """The same path in fewer bytes than a socket's address holds, for the moment."""
    directory, name = os.path.split(os.path.abspath(path))
    dir_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{dir_fd}/{name}"
    finally:
        os.close(dir_fd)


def connect(path: str, timeout_s: float | None) -> Connection:
    """A connection to the socket at `path`; OSError when nobody listens. Each wait later has the same deadline."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        with short_path(path) as short:
            sock.connect(short)
    except BaseException:
        sock.close()
        raise
    return Connection(sock)


def listen(path: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A listening socket at `path`, in place of whatever socket was there; only root may connect."""
    sock = socket.socket(socket.AF_UNIX, kind)
    temporary = f"{path}.{os.getpid()}"
    try:
        with short_path(temporary) as short:
            sock.bind(short)
        os.chmod(temporary, 0o600)
        sock.listen(64)
        os.rename(temporary, path)
    except BaseException:
        sock.close()
        raise
    return sock
