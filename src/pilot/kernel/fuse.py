"""The part of the FUSE protocol (<linux/fuse.h>, 7.31 and later) that a few files need: bytes ↔ values, no I/O.

request   header 40: len opcode unique nodeid uid gid pid extlen pad │ body
answer    header 16: len -errno unique                              │ body
notice    header 16: len code 0
"""

from __future__ import annotations

import enum
import stat
import struct

import msgspec

HEADER = struct.Struct("<IIQQIIIHH")
ANSWER = struct.Struct("<IiQ")
WRITE_HEADER_BYTES = 80  # request header and struct fuse_write_in, before the data
MAX_WRITE_BYTES = 1 << 20
ROOT = 1
NOTIFY_RESEND = 7
RESENT = 1 << 63  # set in `unique` of a request that is sent again (kernel 6.9)

_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_IO = struct.Struct("<QQI")
_READ_FLAGS = struct.Struct("<20xI")
_READ_LOCKOWNER = 1 << 1
_INIT_IN = struct.Struct("<IIII")
_INIT_OUT = struct.Struct("<IIIIHHIIHHII24x")
_FALLOCATE = struct.Struct("<QQQII")
_LSEEK = struct.Struct("<QQI")
_SETATTR = struct.Struct("<I64xI4xII")
_DIRENT = struct.Struct("<QQII")
_FOREVER_S = 1000

_OPEN_DIRECT_IO, _OPEN_NONSEEKABLE, _OPEN_PARALLEL_DIRECT_WRITES = 1 << 0, 1 << 2, 1 << 6


class Op(enum.IntEnum):
    """Requests that are answered, or that want no answer."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45
    LSEEK = 46
    SYNCFS = 50


# What makes or takes away a name in a directory.
NAMING = frozenset({Op.SYMLINK, Op.MKNOD, Op.MKDIR, Op.UNLINK, Op.RMDIR, Op.RENAME, Op.LINK, Op.CREATE, Op.RENAME2})


class InitFlag(enum.IntFlag):
    """FUSE_* of INIT; those from bit 32 on travel in `flags2`."""

    ASYNC_READ = 1 << 0
    BIG_WRITES = 1 << 5
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    INIT_EXT = 1 << 30
    HAS_RESEND = 1 << 39


WANTED = (
    InitFlag.ASYNC_READ | InitFlag.BIG_WRITES | InitFlag.ASYNC_DIO | InitFlag.PARALLEL_DIROPS | InitFlag.MAX_PAGES
    | InitFlag.INIT_EXT | InitFlag.HAS_RESEND
)  # fmt: skip


class Fallocate(enum.IntFlag):
    """FALLOC_FL_*."""

    KEEP_SIZE = 1
    PUNCH_HOLE = 2
    ZERO_RANGE = 16


# Of a file whose text is made when it is read, as in sysfs: of one that has none sendfile(2) would take nothing.
UNKNOWN_BYTES = 4096


class Node(msgspec.Struct, frozen=True):
    """What the kernel is told about a file or directory."""

    number: int
    size_bytes: int
    is_directory: bool
    writable: bool
    is_public: bool = False  # to be read by everybody
    owned: tuple[int, int, int] | None = None  # st_mode, uid and gid, where they are said

    @property
    def owner(self) -> tuple[int, int, int]:
        """st_mode, uid, gid."""
        return self.owned or (self.mode, 0, 0)

    @property
    def mode(self) -> int:
        """st_mode."""
        if self.owned is not None:
            return self.owned[0]
        if self.is_directory:
            return stat.S_IFDIR | 0o555
        if self.is_public:
            return stat.S_IFREG | 0o444
        return stat.S_IFREG | (0o600 if self.writable else 0o400)


def attributes(node: Node) -> bytes:
    """struct fuse_attr."""
    blocks = node.size_bytes // 512
    mode, uid, gid = node.owner
    return _ATTR.pack(node.number, node.size_bytes, blocks, 0, 0, 0, 0, 0, 0, mode, 1, uid, gid, 0, 4096, 0)


def attributes_answer(node: Node) -> bytes:
    """struct fuse_attr_out."""
    return struct.pack("<QII", _FOREVER_S, 0, 0) + attributes(node)


def entry_answer(node: Node) -> bytes:
    """struct fuse_entry_out. Names are not cached: a checkpoint may be deleted, and its name used again."""
    return struct.pack("<QQQQII", node.number, 0, 0, _FOREVER_S, 0, 0) + attributes(node)


def parse_init(body: memoryview) -> tuple[int, InitFlag]:
    """(minor version, flags the kernel offers) of an INIT request."""
    _, minor, _, flags = _INIT_IN.unpack_from(body)
    high: int = struct.unpack_from("<I", body, 16)[0] if len(body) >= 20 and flags & InitFlag.INIT_EXT else 0
    return minor, InitFlag(flags | high << 32)


def init_answer(minor: int, offered: InitFlag, max_write_bytes: int = MAX_WRITE_BYTES) -> bytes:
    """struct fuse_init_out: what we want of what is offered. A request is never longer than the longest write."""
    flags = int(offered & WANTED)
    return _INIT_OUT.pack(
        7, min(minor, 41), 1 << 20, flags & 0xFFFFFFFF, 64, 48, max_write_bytes, 1, max_write_bytes // 4096, 0,
        flags >> 32, 0,
    )  # fmt: skip


def open_answer(*, direct: bool, seekable: bool = True, handle: int = 0) -> bytes:
    """struct fuse_open_out. Who takes over knows nothing of its predecessor's handles.

    Of a file whose size nobody knows before it is read, and that is not `seekable`, programs look for no end.
    """
    flags = (_OPEN_DIRECT_IO | _OPEN_PARALLEL_DIRECT_WRITES if direct else 0) | (0 if seekable else _OPEN_NONSEEKABLE)
    return struct.pack("<QII", handle, flags, 0)


def parse_handle(body: memoryview) -> int:
    """Of what was opened: READ, WRITE, RELEASE."""
    return int.from_bytes(body[:8], "little")


def parse_io(body: memoryview) -> tuple[int, int]:
    """(offset, size) of a READ or WRITE."""
    _, offset, size = _IO.unpack_from(body)
    return offset, size


def is_for_a_reader(body: memoryview) -> bool:
    """Of a READ of a file that was opened `direct`: for read(2), not for the page cache that sendfile(2) fills."""
    return bool(_READ_FLAGS.unpack_from(body)[0] & _READ_LOCKOWNER)


class Wanted(msgspec.Struct, frozen=True):
    """What a SETATTR changes of these."""

    mode: int | None
    uid: int | None
    gid: int | None


def parse_setattr(body: memoryview) -> Wanted:
    """Of struct fuse_setattr_in: FATTR_MODE, FATTR_UID, FATTR_GID."""
    valid, mode, uid, gid = _SETATTR.unpack_from(body)
    return Wanted(mode if valid & 1 else None, uid if valid & 2 else None, gid if valid & 4 else None)


def parse_fallocate(body: memoryview) -> tuple[int, int, Fallocate]:
    """(offset, length, mode)."""
    _, offset, length, mode, _ = _FALLOCATE.unpack_from(body)
    return offset, length, Fallocate(mode)


def parse_lseek(body: memoryview) -> tuple[int, int]:
    """(offset, whence)."""
    _, offset, whence = _LSEEK.unpack_from(body)
    return offset, whence


def parse_name(body: memoryview) -> str:
    """The name of a LOOKUP; what is not UTF-8 cannot be one of ours."""
    return bytes(body).rstrip(b"\0").decode(errors="replace")


def write_answer(size: int) -> bytes:
    """struct fuse_write_out."""
    return struct.pack("<II", size, 0)


def statfs_answer(size_bytes: int, block_bytes: int) -> bytes:
    """struct fuse_statfs_out: one full filesystem of that size. A loop device takes the block size for the least that
    is worth a discard."""
    return struct.pack("<QQQQQIIII24x", size_bytes // block_bytes, 0, 0, 0, 0, block_bytes, 255, block_bytes, 0)


def directory_entries(entries: list[tuple[str, Node]], offset: int, size: int) -> bytes:
    """Body of a READDIR answer: entries from index `offset` on that fit into `size` bytes."""
    out = b""
    for index, (name, node) in enumerate(entries[offset:], offset + 1):
        raw = name.encode()
        record = _DIRENT.pack(node.number, index, len(raw), node.mode >> 12) + raw
        record += bytes(-len(record) % 8)
        if len(out) + len(record) > size:
            break
        out += record
    return out
