"""Loop devices: a file as a block device (loop(4), <linux/loop.h>).

    loop-control ─ GET_FREE ─► number ─ open node ─ CONFIGURE(backing fd, AUTOCLEAR | DIRECT_IO) ─► block device

With AUTOCLEAR the kernel lets go of the backing file when the last user of the device closes it; nothing has to be
undone. The name given at `attach` (at most 63 bytes) tells later whose device it is: numbers are used again at once.
Functions raise `OSError` with errno and path; descriptors returned belong to the caller and are close-on-exec.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time

_CONFIGURE, _GET_STATUS64, _SET_CAPACITY, _CTL_GET_FREE = 0x4C0A, 0x4C05, 0x4C07, 0x4C82
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
# u64 device inode rdevice offset sizelimit, u32 number crypt_type key_size flags, name, crypt name, key, u64 init[2]
_INFO = struct.Struct("<QQQQQIIII64s64s32sQQ")
_CONFIG = struct.Struct(f"<II{_INFO.size}s8Q")
_NAME, _FLAGS = 9, 8
_MAJOR = 7


def attach(
    backing_fd: int, name: str, node_directory: str, *, block_bytes: int = 4096, read_only: bool = False
) -> tuple[int, int]:
    """(number, descriptor) of a free loop device, now bound to the file with direct I/O; gone when nobody uses it.

    `node_directory` is where a device node is made for a moment when /dev has none.
    """
    control_fd = _open_control(node_directory)
    try:
        while True:
            number = fcntl.ioctl(control_fd, _CTL_GET_FREE)
            device_fd = open_device(number, node_directory, read_only=read_only)
            try:
                _configure(device_fd, backing_fd, name, block_bytes, read_only=read_only)
                return number, device_fd
            except OSError as error:
                os.close(device_fd)
                if error.errno != errno.EBUSY:  # EBUSY: somebody else was faster with this number
                    raise
    finally:
        os.close(control_fd)


def _configure(device_fd: int, backing_fd: int, name: str, block_bytes: int, *, read_only: bool) -> None:
    flags = _AUTOCLEAR | _DIRECT_IO | (_READ_ONLY if read_only else 0)
    info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, name.encode()[:63], b"", b"", 0, 0)
    fcntl.ioctl(device_fd, _CONFIGURE, _CONFIG.pack(backing_fd, block_bytes, info, *[0] * 8))


def follow_size(device_fd: int) -> None:
    """The device is as large as its file is by now, also while it is used."""
    fcntl.ioctl(device_fd, _SET_CAPACITY, 0)


def name_of(device_fd: int) -> str | None:
    """The name given when the device was bound, or None when it is bound to nothing."""
    try:
        info = fcntl.ioctl(device_fd, _GET_STATUS64, bytes(_INFO.size))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
    raw: bytes = _INFO.unpack(info)[_NAME]
    return raw.rstrip(b"\0").decode()


def is_bound(number: int, name: str, node_directory: str) -> bool:
    """Whether the device is (still) bound under this name."""
    try:
        device_fd = open_device(number, node_directory, read_only=True)
    except OSError as error:
        if error.errno == errno.ENXIO:  # just going away
            return False
        raise
    try:
        return name_of(device_fd) == name
    finally:
        os.close(device_fd)


def wait_unbound(number: int, name: str, node_directory: str, timeout_s: float) -> bool:
    """Wait until nobody uses the device any more; False at the deadline. The kernel has no event for this."""
    deadline = time.monotonic() + timeout_s
    while is_bound(number, name, node_directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.004)
    return True


def open_device(number: int, node_directory: str, *, read_only: bool = False) -> int:
    """A descriptor of loop device `number`, by a node of our own when /dev has none."""
    flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC
    path = f"/dev/loop{number}"
    device = os.makedev(_MAJOR, number)
    if _is_node(path, stat.S_IFBLK, device):
        return os.open(path, flags)
    return _open_own_node(node_directory, stat.S_IFBLK, device, flags)


def _open_control(node_directory: str) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open("/dev/loop-control", flags)
    except FileNotFoundError:
        return _open_own_node(node_directory, stat.S_IFCHR, os.makedev(10, 237), flags)


def _is_node(path: str, kind: int, device: int) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return stat.S_IFMT(found.st_mode) == kind and found.st_rdev == device


def _open_own_node(directory: str, kind: int, device: int, flags: int) -> int:
    path = os.path.join(directory, f".node-{os.getpid()}-{time.monotonic_ns()}")
    os.mknod(path, kind | 0o600, device)
    try:
        return os.open(path, flags)
    finally:
        os.unlink(path)
