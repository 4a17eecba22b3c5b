"""The process that unpacks: shut into its destination before it has read a byte of a layer.

    python -m pilot.image.oci.child FD        FD: the directory, a descriptor
    stdin   frames: length (4 bytes, big endian), then so many bytes; one of length 0 ends a layer
            order ─ for each layer: header, bytes as stored ..., 0
    stdout  for each layer one line of JSON, a Report; after one with a problem it has ended

It has mount, network and IPC namespaces of its own, the destination for its root, and of root's capabilities those
that files are made with: not the one to change the root again, nor any that reaches a kernel beyond files. Its memory
and the size of a file are limited by the kernel. Should it be taken over, what it can do is write into this image.
"""

from __future__ import annotations

import hashlib
import os
import resource
import struct
import sys
from typing import BinaryIO

import msgspec

from ... import errors
from ...kernel import syscalls
from . import digest as digests
from . import inflate, limits, tarstream
from .digest import DigestField
from .layer import Budget, Layer, Owners
from .tarstream import Readable

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWNET = 0x00020000, 0x08000000, 0x40000000
_MS_REC_PRIVATE = 0x4000 | 1 << 18
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP (capabilities(7)).
_KEPT = (0, 1, 3, 4, 27, 31)
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_NO_NEW_PRIVS = 38


class Order(msgspec.Struct, frozen=True):
    """What holds for all layers."""

    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]
    devices: bool
    stream_bytes: int
    file_bytes: int
    entries: int
    removals: int
    memory_bytes: int


class Header(msgspec.Struct, frozen=True):
    """What comes next, and what it must be when it is not compressed."""

    diff_id: DigestField


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a layer ended: without `problem` it is on the disk as a whole."""

    kind: str = ""
    place: str = ""
    problem: str = ""
    entries: int = 0
    stream_bytes: int = 0


class _Frames:
    """One layer's bytes, as they come in frames."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._left = 0
        self._ended = False

    def whole(self) -> bytes | None:
        """A frame that is a message; None when there are no more."""
        size = self._size()
        self._ended = False
        return self._exactly(size) if size is not None else None

    def read(self, size: int, /) -> bytes:
        """Of the layer; nothing at its end."""
        if self._ended:
            return b""
        if not self._left:
            following = self._size()
            if following is None:
                raise EOFError
            self._left = following
            if not following:
                self._ended = True
                return b""
        part = self._source.read(min(size, self._left))
        if not part:
            raise EOFError
        self._left -= len(part)
        return part

    def _size(self) -> int | None:
        head = self._source.read(4)
        return int(struct.unpack("!I", head)[0]) if len(head) == 4 else None

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) != size:
            raise EOFError
        return data


class _Counted:
    """The uncompressed stream, hashed and counted: all layers together may have so many bytes."""

    def __init__(self, source: Readable, diff_id: digests.Digest, left: int) -> None:
        self._source = source
        self._left = left
        self.check = digests.Check(diff_id)
        self.count = 0

    def read(self, size: int, /) -> bytes:
        part = self._source.read(size)
        self.count += len(part)
        if self.count > self._left:
            raise errors.SpecError("layers", "more bytes than are taken, once they are not compressed")
        self.check.update(part)
        return part


def confine(directory_fd: int, memory_bytes: int, file_bytes: int) -> None:
    """There is no way back from this."""
    flags = _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWNET
    syscalls.checked(syscalls.libc.unshare(flags), "unshare")
    syscalls.checked(syscalls.libc.mount(None, b"/", None, _MS_REC_PRIVATE, None), "make mounts private")
    os.fchdir(directory_fd)
    os.chroot(".")
    os.chdir("/")
    os.close(directory_fd)
    os.umask(0)
    for kind, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    syscalls.checked(syscalls.libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    _keep_capabilities()


def _keep_capabilities() -> None:
    mask = sum(1 << number for number in _KEPT)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    syscalls.checked(syscalls.libc.capset(header, data), "capset")


def _unpack(frames: _Frames, order: Order) -> None:
    """Layer upon layer, until there are no more."""
    limit = limits.Unpacking(order.stream_bytes, order.file_bytes, order.entries, order.removals, order.memory_bytes)
    budget = Budget(limit)
    owners = Owners(order.uids, order.gids)
    left = order.stream_bytes
    while (head := frames.whole()) is not None:
        header = msgspec.json.decode(head, type=Header)
        counted = _Counted(inflate.tar_of(frames), header.diff_id, left)
        _apply(counted, Layer(owners, devices=order.devices, budget=budget))
        counted.check.finish("the layer, uncompressed")
        while frames.read(tarstream.CHUNK):
            pass  # what follows the compressed stream is part of the blob, and of nothing else
        left -= counted.count
        _tell(Report(entries=budget.entries, stream_bytes=order.stream_bytes - left))


def _apply(stream: _Counted, layer: Layer) -> None:
    reader = tarstream.Reader(stream)
    while (entry := reader.next()) is not None:
        try:
            layer.apply(entry, reader.data)
        except (OSError, errors.SpecError) as error:
            raise _AtEntry(entry.name) from error
    layer.finish()
    while stream.read(tarstream.CHUNK):
        pass  # its end is padded, and all of it counts for the digest


class _AtEntry(Exception):
    """Where an entry is what could not be done."""

    def __init__(self, name: bytes) -> None:
        super().__init__()
        shown = name if len(name) <= 200 else name[:200] + b"..."
        self.place = repr(shown.decode("utf-8", "backslashreplace"))


def report_of(error: BaseException) -> Report:
    """The one clear error, in a form that crosses the pipe."""
    place = ""
    if isinstance(error, _AtEntry) and error.__cause__ is not None:
        place, error = error.place, error.__cause__
    if isinstance(error, errors.SpecError):
        return Report("SpecError", place or error.path, f"{error.path}: {error.problem}" if place else error.problem)
    if isinstance(error, errors.PeerError):
        return Report("PeerError", "", str(error))
    if isinstance(error, OSError):
        return Report("OSError", place, os.strerror(error.errno) if error.errno else str(error))
    if isinstance(error, MemoryError):
        return Report("SpecError", place or "layer", "more memory than is given to it")
    return Report("HostError", place, f"{type(error).__name__}: {error}")


def _tell(report: Report) -> None:
    os.write(1, msgspec.json.encode(report) + b"\n")


def main(arguments: list[str]) -> int:
    """The exit status: 0 when all layers that came are on the disk."""
    frames = _Frames(sys.stdin.buffer)
    hashlib.new("sha512"), hashlib.new("sha256")  # what is loaded later would be loaded from the image
    try:
        first = frames.whole()
        if first is None:
            return 1
        order = msgspec.json.decode(first, type=Order)
        confine(int(arguments[0]), order.memory_bytes, order.file_bytes)
        _unpack(frames, order)
    except EOFError:
        return 1  # whoever fed it is gone: nobody to tell
    except Exception as error:  # noqa: BLE001 - all that can happen is told, and a traceback would read the image's files
        _tell(report_of(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
