"""A filesystem whose block device remembers every write and flush, so that a test can let the power fail anywhere.

    ext4 (mounted at `place`) ─ loop, direct I/O ─ FUSE file ─ this module, in a process of its own
                                                                 ├ memfd: the device as it is
                                                                 └ memfd: the log: (offset, data) per write, flushes

What is logged is what a real disk would have been sent, by ext4, SQLite and us alike. A power loss at record n leaves
all blocks as of the last flush before n, but for those written since: of each any version since then, or the one before
(a write cache is written back in any order, and a block of 4 KiB is whole). The log has a record before the write is
answered, so what was acknowledged to anybody is before `position`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pilot.kernel import fuse as proto
from pilot.kernel import loop, mounts

BLOCK_BYTES = 4096
_RECORD = struct.Struct("<QI")
_FLUSH = (1 << 64) - 1
_FILE = proto.Node(2, 0, False, True)
_NAME = "pilot/recorder"


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """Data that went to the device."""

    offset: int
    data: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Flush:
    """All writes before this are stable."""


Record = Write | Flush


class Recorder:
    """The recorded filesystem, mounted at `place`."""

    def __init__(self, place: Path, base: bytes, log_fd: int) -> None:
        self.place = place
        self._base = base
        self._log_fd = log_fd

    @property
    def position(self) -> int:
        """How much was logged so far (bytes of log)."""
        return os.fstat(self._log_fd).st_size

    def records(self) -> list[tuple[int, Record]]:
        """(position after it, record) of all."""
        found: list[tuple[int, Record]] = []
        log, at = os.pread(self._log_fd, self.position, 0), 0
        while at < len(log):
            offset, length = _RECORD.unpack_from(log, at)
            at += _RECORD.size + length
            found.append((at, Flush() if offset == _FLUSH else Write(offset, log[at - length : at])))
        return found

    def after_power_loss(self, records: list[tuple[int, Record]], count: int, chance: random.Random) -> bytearray:
        """The device when the power fails after the first `count` records."""
        image = bytearray(self._base)
        flushes = [n for n in range(count) if isinstance(records[n][1], Flush)]
        stable = flushes[-1] if flushes else 0
        for _, record in records[:stable]:
            if isinstance(record, Write):
                image[record.offset : record.offset + len(record.data)] = record.data
        keep = chance.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        for offset, versions in _versions(records[stable:count]).items():
            if chance.random() < keep:
                image[offset : offset + BLOCK_BYTES] = chance.choice(versions)
        return image


def _versions(records: list[tuple[int, Record]]) -> dict[int, list[bytes]]:
    """Offset of each block that was written → what was written there."""
    found: dict[int, list[bytes]] = {}
    for _, record in records:
        if isinstance(record, Write):
            for start in range(0, len(record.data), BLOCK_BYTES):
                found.setdefault(record.offset + start, []).append(record.data[start : start + BLOCK_BYTES])
    return found


@contextlib.contextmanager
def recorded(directory: Path, size_bytes: int) -> Iterator[Recorder]:
    """A new ext4 whose device is recorded."""
    base = _new_ext4(directory / "base.img", size_bytes)
    image_fd, log_fd = _memory("image", base), _memory("log", b"")
    fuse_fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options: dict[str, str | int | None] = {"source": "recorder", "subtype": "recorder", "fd": str(fuse_fd)}
    options |= {"rootmode": "40000", "user_id": "0", "group_id": "0"}
    mount_fd = mounts.mount_detached("fuse", options)
    descriptors = (fuse_fd, image_fd, log_fd)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.recorder", *map(str, descriptors)], pass_fds=descriptors
    )
    os.close(fuse_fd)
    try:
        disk_fd = os.open("disk", os.O_RDWR | os.O_CLOEXEC, dir_fd=mount_fd)
        try:
            with mounted(disk_fd, directory / "recorded") as place:
                yield Recorder(place, base, log_fd)
        finally:
            os.close(disk_fd)
    finally:
        os.close(mount_fd)  # which ends the connection, and the server
        server.wait(30)
        os.close(image_fd)
        os.close(log_fd)


@contextlib.contextmanager
def mounted(image_fd: int, place: Path) -> Iterator[Path]:
    """The ext4 in a file, mounted at `place`."""
    place.mkdir(exist_ok=True)
    number, device_fd = loop.attach(image_fd, _NAME, str(place.parent))
    try:
        mount_fd = mounts.mount_detached("ext4", {"source": f"/proc/self/fd/{device_fd}"})
    finally:
        os.close(device_fd)
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)
    try:
        yield place
    finally:
        mounts.umount(place)
        assert loop.wait_unbound(number, _NAME, str(place.parent), 20)


@contextlib.contextmanager
def mounted_image(image: bytes | bytearray, place: Path) -> Iterator[Path]:
    """The ext4 in these bytes, mounted at `place`."""
    fd = _memory("crashed", image)
    try:
        with mounted(fd, place) as found:
            yield found
    finally:
        os.close(fd)


def _memory(name: str, content: bytes | bytearray) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return fd


def _new_ext4(path: Path, size_bytes: int) -> bytes:
    path.touch()
    os.truncate(path, size_bytes)
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-E", "lazy_itable_init=0", str(path)], check=True
    )
    return path.read_bytes()


# ---- the server


def _serve(fuse_fd: int, image_fd: int, log_fd: int) -> None:
    file = msgspec.structs.replace(_FILE, size_bytes=os.fstat(image_fd).st_size)
    request = bytearray(proto.MAX_WRITE_BYTES + BLOCK_BYTES)
    while True:
        try:
            size = os.readv(fuse_fd, [request])
        except FileNotFoundError:
            continue  # the request was taken back
        except OSError:
            return  # unmounted
        _, op, unique, node, *_ = proto.HEADER.unpack_from(request)
        if op in (proto.Op.FORGET, proto.Op.BATCH_FORGET, proto.Op.INTERRUPT):
            continue
        body = memoryview(request)[proto.HEADER.size : size]
        answer = _answer(op, node, body, file, image_fd, log_fd)
        code = 0 if answer is not None else -95  # EOPNOTSUPP
        os.writev(fuse_fd, [proto.ANSWER.pack(proto.ANSWER.size + len(answer or b""), code, unique), answer or b""])
        if op == proto.Op.DESTROY:
            return


def _answer(op: int, node: int, body: memoryview, file: proto.Node, image_fd: int, log_fd: int) -> bytes | None:
    match op:
        case proto.Op.INIT:
            return proto.init_answer(*proto.parse_init(body))
        case proto.Op.LOOKUP:
            return proto.entry_answer(file)
        case proto.Op.GETATTR | proto.Op.SETATTR:
            return proto.attributes_answer(file if node == file.number else proto.Node(node, 0, True, False))
        case proto.Op.OPEN:
            return proto.open_answer(direct=True)
        case proto.Op.READ:
            offset, size = proto.parse_io(body)
            return os.pread(image_fd, size, offset)
        case proto.Op.WRITE:
            offset, size = proto.parse_io(body)
            data = bytes(body[proto.WRITE_HEADER_BYTES - proto.HEADER.size :][:size])
            os.write(log_fd, _RECORD.pack(offset, size) + data)
            os.pwrite(image_fd, data, offset)
            return proto.write_answer(size)
        case proto.Op.FSYNC | proto.Op.SYNCFS:
            os.write(log_fd, _RECORD.pack(_FLUSH, 0))
            return b""
        case proto.Op.FLUSH | proto.Op.RELEASE | proto.Op.DESTROY | proto.Op.ACCESS:
            return b""
    return None


if __name__ == "__main__":
    _serve(*map(int, sys.argv[1:]))
