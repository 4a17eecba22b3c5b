"""The kernel's side of a FUSE connection, over a socket pair: what one process asks of a served disk, by hand.

    threads of a test ── read, write, sync, punch ──► requests │ one packet each │ fuse.Server
                      ◄──────────── answers, by their number ──┘

No mount and no privilege is needed; a packet is at most 128 KiB, which the socket's buffer takes by default.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import threading
from concurrent.futures import Future
from types import TracebackType

from pilot.kernel import fuse as proto

DISK = 2
MAX_BYTES = 128 << 10
_IO = struct.Struct("<QQIIQII")  # struct fuse_read_in and fuse_write_in
_FALLOCATE = struct.Struct("<QQQII")
_TIMEOUT_S = 30


class FakeFuse:
    """`fd` is the served side and stays ours. Usable from many threads."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._numbers = itertools.count(2)
        self._waiting: dict[int, Future[bytes]] = {}
        self._reader = threading.Thread(target=self._receive, name="fake kernel", daemon=True)
        self._reader.start()

    @property
    def fd(self) -> int:
        """What the server reads from."""
        return self._theirs.fileno()

    def read(self, offset: int, size: int, node: int = DISK) -> bytes:
        """OSError as the server says."""
        return self.call(proto.Op.READ, _IO.pack(0, offset, size, 0, 0, 0, 0), node)

    def write(self, offset: int, data: bytes, flags: int = 0) -> None:
        """`flags` go into the request's number."""
        body = _IO.pack(0, offset, len(data), 0, 0, 0, 0) + data
        assert struct.unpack("<II", self.call(proto.Op.WRITE, body, flags=flags)) == (len(data), 0)

    def sync(self) -> None:
        assert self.call(proto.Op.FSYNC, bytes(16)) == b""

    def punch(self, offset: int, length: int) -> None:
        mode = proto.Fallocate.PUNCH_HOLE | proto.Fallocate.KEEP_SIZE
        assert self.call(proto.Op.FALLOCATE, _FALLOCATE.pack(0, offset, length, mode, 0)) == b""

    def call(self, op: int, body: bytes, node: int = DISK, flags: int = 0) -> bytes:
        """Ask and wait."""
        number = next(self._numbers) | flags
        answer = self._waiting[number] = Future()
        self._ours.send(proto.HEADER.pack(proto.HEADER.size + len(body), op, number, node, 0, 0, 0, 0, 0) + body)
        return answer.result(_TIMEOUT_S)

    def end(self, threads: int) -> None:
        """Every thread of the server ends."""
        for _ in range(threads):
            self.call(proto.Op.DESTROY, b"")

    def close(self) -> None:
        self._ours.shutdown(socket.SHUT_RDWR)
        self._reader.join(_TIMEOUT_S)
        self._ours.close()
        self._theirs.close()

    def __enter__(self) -> FakeFuse:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _receive(self) -> None:
        while packet := self._ours.recv(MAX_BYTES + 4096):
            length, code, number = proto.ANSWER.unpack_from(packet)
            assert length == len(packet), "an answer of another length than it says"
            waiting = self._waiting.pop(number)
            if code:
                waiting.set_exception(OSError(-code, os.strerror(-code)))
            else:
                waiting.set_result(packet[proto.ANSWER.size :])
