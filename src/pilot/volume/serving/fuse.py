"""Serves one disk over a /dev/fuse descriptor, with several threads. Each waits in C (`_lookaside`), where requests
that need no decision are answered; the others come here.

    /disk                  the head, read-write
    /checkpoints/<id>      read-only

Stateless on purpose: node numbers follow from names (a checkpoint's from its generation), there are no file handles,
and reads, block writes, flushes and trims may be repeated. So another process can take the descriptor at any time, ask
the kernel to send again what was not answered (FUSE_NOTIFY_RESEND), and go on. Must never open a file on a filesystem
that lies on this disk.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable

from ...kernel import fuse as proto
from ...kernel.fuse import Node, Op
from .. import layout
from .._lookaside import Lookaside
from ..disk import disk as disks
from ..disk import slab

_log = logging.getLogger(__name__)
_DISK, _CHECKPOINTS, _FIRST_CHECKPOINT = 2, 3, 16
# Data of a WRITE is read to, and that of a READ sent from, the start of a page: direct I/O wants that.
_DATA = 4096
_REQUEST = _DATA - proto.WRITE_HEADER_BYTES
_BODY = _REQUEST + proto.HEADER.size
_ANSWER = _DATA - proto.ANSWER.size

# Requests that the kernel does not want answered.
_SILENT = frozenset({Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT})
_CONSENT = frozenset({Op.RELEASE, Op.RELEASEDIR, Op.ACCESS, Op.FSYNCDIR, Op.DESTROY})
# FLUSH, which each close of each copy of the file's descriptor is, is none: answered by ENOSYS once, it does not come
# again. A disk promises nothing at a close, and who closes one (a child before its exec, say) must not wait for us.
# The last close of an opening is a RELEASE, for which nobody waits: then somebody is done with the disk.
_SYNCS = frozenset({Op.FSYNC, Op.SYNCFS})


class Server:
    """Answers requests until the connection ends. The descriptor and the disk stay the caller's."""

    def __init__(self, fuse_fd: int, disk: disks.Disk, threads: int = 4) -> None:
        self._fd = fuse_fd
        self._disk = disk
        self._lookaside = Lookaside(fuse_fd, disk.size_bytes)
        disk.use_lookaside(self._lookaside)
        self._readers: dict[int, Callable[[int, memoryview], None]] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(n,), name=f"fuse-{n}", daemon=True) for n in range(threads)
        ]
        self._table: dict[int, Callable[[int, memoryview], bytes]] = {
            Op.LOOKUP: self._lookup, Op.GETATTR: self._getattr, Op.SETATTR: self._getattr, Op.OPEN: self._open,
            Op.OPENDIR: self._opendir, Op.READDIR: self._readdir, Op.STATFS: self._statfs, Op.INIT: self._init,
            Op.FALLOCATE: self._fallocate, Op.LSEEK: self._lseek,
        }  # fmt: skip
        self.resent = 0
        self._answered = 0

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return self._answered + self._lookaside.answered

    @property
    def answered_alone(self) -> int:
        """Of those, the ones that never came to Python."""
        return self._lookaside.answered

    def start(self, *, resend: bool) -> None:
        """Start the threads; `resend` when another process served this connection before (OSError: kernel < 6.9)."""
        for thread in self._threads:
            thread.start()
        if resend:
            os.write(self._fd, proto.ANSWER.pack(proto.ANSWER.size, proto.NOTIFY_RESEND, 0))

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the connection has ended; whether it has."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    # ---- the loop

    def _serve(self, lane: int) -> None:
        # Resident: when we are killed while the kernel copies a request into a page that must be faulted in first, the
        # fault fails, and the kernel answers that request with EIO instead of keeping it for our successor (6.18).
        buffer = slab.aligned(_DATA + proto.MAX_WRITE_BYTES + _DATA, resident=True)
        request = buffer[_REQUEST:]
        while True:
            try:
                size = self._lookaside.receive(request, lane)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    _log.error("serve /dev/fuse: %s", error)
                return
            length, op, unique, node, *_ = proto.HEADER.unpack_from(request)
            if unique & proto.RESENT:
                self.resent += 1
            self._one(op, unique, node, buffer, min(size, length))
            if op == Op.DESTROY:
                return

    def _one(self, op: int, unique: int, node: int, buffer: memoryview, length: int) -> None:
        if op in _SILENT:
            return
        try:
            if op == Op.READ:
                self._read(unique, node, buffer)
                return
            answer, code = self._answer(op, node, buffer, length), 0
        except OSError as error:
            answer, code = b"", error.errno or errno.EIO
            if code not in (errno.ENOSYS, errno.ENOENT):
                _log.error("%s of node %d: %s", _op_name(op), node, error)
        except Exception:  # noqa: BLE001
            # The edge of this process: whatever it was, the filesystem above must hear of it, and hear EIO.
            _log.exception("%s of node %d", _op_name(op), node)
            answer, code = b"", errno.EIO
        self._reply([proto.ANSWER.pack(proto.ANSWER.size + len(answer), -code, unique), answer])

    def _answer(self, op: int, node: int, buffer: memoryview, length: int) -> bytes:
        body = buffer[_BODY : _REQUEST + length]
        if op == Op.WRITE:
            return self._write(node, body, buffer)
        if op in _SYNCS:
            self._disk.flush()
            return b""
        if op == Op.RELEASE and node == _DISK:
            self._disk.settle()
        if op in _CONSENT:
            return b""
        method = self._table.get(op)
        if method is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return method(node, body)

    def _reply(self, parts: list[bytes] | list[memoryview]) -> None:
        self._answered += 1
        try:
            os.writev(self._fd, parts)
        except OSError as error:
            # ENOENT: the request is gone (interrupted, or the connection was aborted); nobody waits for the answer.
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                _log.error("answer on /dev/fuse: %s", error)

    # ---- data

    def _read(self, unique: int, node: int, buffer: memoryview) -> None:
        offset, size = proto.parse_io(buffer[_BODY:])
        size = max(0, min(size, self._node(node).size_bytes - offset, proto.MAX_WRITE_BYTES))
        into = buffer[_DATA : _DATA + size]
        if size:
            (self._disk.read if node == _DISK else self._reader(node))(offset, into)
        proto.ANSWER.pack_into(buffer, _ANSWER, proto.ANSWER.size + size, 0, unique)
        self._reply([buffer[_ANSWER : _DATA + size]])

    def _write(self, node: int, body: memoryview, buffer: memoryview) -> bytes:
        offset, size = proto.parse_io(body)
        if node != _DISK:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if offset + size > self._disk.size_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        self._disk.write(offset, buffer[_DATA : _DATA + size])
        return proto.write_answer(size)

    def _fallocate(self, node: int, body: memoryview) -> bytes:
        offset, length, mode = proto.parse_fallocate(body)
        if node != _DISK or not mode & (proto.Fallocate.PUNCH_HOLE | proto.Fallocate.ZERO_RANGE):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        self._disk.trim(offset, length)
        return b""

    def _lseek(self, node: int, body: memoryview) -> bytes:
        # SEEK_DATA and SEEK_HOLE: all of it is data, which is always a correct answer.
        offset, whence = proto.parse_lseek(body)
        size = self._node(node).size_bytes
        if offset >= size:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return (size if whence == os.SEEK_HOLE else offset).to_bytes(8, "little")

    # ---- names

    def _nodes(self) -> dict[int, dict[str, Node]]:
        """Directory → name → node."""
        size = self._disk.size_bytes
        checkpoints = {
            checkpoint.id: Node(_FIRST_CHECKPOINT + checkpoint.generation, size, False, False)
            for checkpoint in self._disk.checkpoints()
        }
        top = {"disk": Node(_DISK, size, False, True), "checkpoints": Node(_CHECKPOINTS, 0, True, False)}
        return {proto.ROOT: top, _CHECKPOINTS: {str(name): node for name, node in checkpoints.items()}}

    def _node(self, number: int) -> Node:
        if number == _DISK:
            return Node(_DISK, self._disk.size_bytes, False, True)
        if number in (proto.ROOT, _CHECKPOINTS):
            return Node(number, 0, True, False)
        for node in self._nodes()[_CHECKPOINTS].values():
            if node.number == number:
                return node
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _reader(self, number: int) -> Callable[[int, memoryview], None]:
        reader = self._readers.get(number)
        if reader is None:
            for checkpoint in self._disk.checkpoints():
                if _FIRST_CHECKPOINT + checkpoint.generation == number:
                    reader = self._readers[number] = self._disk.reader(checkpoint.id)
                    return reader
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return reader

    def _lookup(self, node: int, body: memoryview) -> bytes:
        found = self._nodes().get(node, {}).get(proto.parse_name(body))
        if found is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return proto.entry_answer(found)

    def _getattr(self, node: int, body: memoryview) -> bytes:
        # SETATTR too: times and modes are not kept, and the size is not changed from this side.
        return proto.attributes_answer(self._node(node))

    def _open(self, node: int, body: memoryview) -> bytes:
        self._node(node)
        return proto.open_answer(direct=True)

    def _opendir(self, node: int, body: memoryview) -> bytes:
        return proto.open_answer(direct=False)

    def _readdir(self, node: int, body: memoryview) -> bytes:
        offset, size = proto.parse_io(body)
        return proto.directory_entries(list(self._nodes().get(node, {}).items()), offset, size)

    def _statfs(self, node: int, body: memoryview) -> bytes:
        return proto.statfs_answer(self._disk.size_bytes, layout.CHUNK_BYTES)

    def _init(self, node: int, body: memoryview) -> bytes:
        return proto.init_answer(*proto.parse_init(body))

    def forget_checkpoint(self, generation: int) -> None:
        """The checkpoint is about to be deleted: its file is gone."""
        self._readers.pop(_FIRST_CHECKPOINT + generation, None)


def _op_name(op: int) -> str:
    try:
        return Op(op).name
    except ValueError:
        return f"request {op}"
