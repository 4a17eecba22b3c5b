"""The size of an ext4: read from its superblock, and grown to that of its device, mounted.

Functions raise `OSError` with errno. Growing needs CAP_SYS_RESOURCE in the initial user namespace.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_RESIZE_FS = 0x40086610
_CAP_SYS_RESOURCE = 24
_SUPERBLOCK_AT, _SUPERBLOCK_BYTES = 1024, 1024
_MAGIC, _HAS_64_BITS = 0xEF53, 0x80


def parse_size(superblock: bytes) -> int | None:
    """Bytes of the filesystem, or None when this is no superblock of an ext2 to ext4."""
    magic: int = struct.unpack_from("<H", superblock, 0x38)[0]
    if magic != _MAGIC:
        return None
    low, high, log_block, incompatible = (_u32(superblock, at) for at in (4, 0x150, 0x18, 0x60))
    blocks = low | (high << 32 if incompatible & _HAS_64_BITS else 0)
    return blocks << (10 + log_block)


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def read_size(device_fd: int) -> int | None:
    """`parse_size` of what is on a device or file."""
    block = os.pread(device_fd, _SUPERBLOCK_BYTES, _SUPERBLOCK_AT)
    return parse_size(block) if len(block) == _SUPERBLOCK_BYTES else None


def may_grow_mounted() -> bool:
    """Whether the kernel lets this process grow an ext4 that is mounted, as far as its capabilities go."""
    with open("/proc/self/status", encoding="ascii") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return bool(effective >> _CAP_SYS_RESOURCE & 1)


def grow_mounted(target: str | os.PathLike[str]) -> None:
    """Give the ext4 that is mounted at `target` all of its device; nothing happens when it has it."""
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        blocks = _device_bytes(os.fstat(fd).st_dev) // os.fstatvfs(fd).f_bsize
        fcntl.ioctl(fd, _RESIZE_FS, struct.pack("<Q", blocks))
    except OSError as error:
        if error.errno == errno.EPERM:
            raise OSError(error.errno, "grow ext4: without CAP_SYS_RESOURCE", os.fspath(target)) from error
        raise
    finally:
        os.close(fd)


def _device_bytes(device: int) -> int:
    with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/size", encoding="ascii") as file:
        return int(file.read()) * 512
