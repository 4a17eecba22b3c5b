"""Holding a mounted filesystem still, and cutting it off: FIFREEZE, FITHAW, EXT4_IOC_SHUTDOWN.

`fd` is any open file or directory of the filesystem (not O_PATH). Functions raise `OSError` with errno. What waits for
grace periods while it holds writers, has them expedited (`graceperiod`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from . import graceperiod

_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878
_EXT4_IOC_SHUTDOWN = 0x8004587D
_GOING_DEFAULT, _GOING_NO_LOG_FLUSH = 0, 2
_ANY_ATTRIBUTE = "user.pilot"


def freeze(fd: int) -> None:
    """Write out everything, leave the filesystem clean, and hold all writers until `thaw`. EBUSY: frozen already."""
    with graceperiod.expedited():
        fcntl.ioctl(fd, _FIFREEZE, 0)


def thaw(fd: int) -> bool:
    """Let writers go on; False when it was not frozen."""
    try:
        fcntl.ioctl(fd, _FITHAW, 0)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def is_ext4_read_only(fd: int) -> bool:
    """Whether an ext4 takes no writes: mounted so, or since it met an error. Never waits for a freeze to end.

    What an error leaves to be seen is another thing in each kernel: up to 6.11 the flags of statfs; from 6.15 on an
    option of the filesystem; between them it is as good as shut down, and nothing but the errors of reads tells.
    """
    if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
        return True
    with open(f"/proc/fs/ext4/{_device_name(fd)}/options") as rows:
        if not {"ro", "emergency_ro", "shutdown"}.isdisjoint(row.strip() for row in rows):
            return True
    return _is_shut_down(fd)


def _is_shut_down(fd: int) -> bool:
    """An attribute is read even of a directory, and of a filesystem that is shut down none is."""
    try:
        os.getxattr(fd, _ANY_ATTRIBUTE)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        if error.errno == errno.EIO:
            return True
        raise
    return False


def has_ext4_failed(path: str) -> bool:
    """Whether the ext4 at `path` takes no writes since it met an error. One that has met none is asked one thing only,
    and one that is no ext4 has met none."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            with open(f"/sys/fs/ext4/{_device_name(fd)}/errors_count", "rb") as file:
                has_met_one = int(file.read()) > 0
        except FileNotFoundError:
            return False
        return has_met_one and is_ext4_read_only(fd)
    finally:
        os.close(fd)


def _device_name(fd: int) -> str:
    device = os.fstat(fd).st_dev
    return os.path.basename(os.readlink(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))


def shut_down_ext4(fd: int) -> None:
    """Write everything out, leave the filesystem clean, and fail every later access with EIO for everybody.

    What cannot be written, because the disk below has failed, is left out. There is no way back but to mount it anew.
    """
    try:
        with graceperiod.expedited():  # it freezes and thaws
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, struct.pack("I", _GOING_DEFAULT))
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENOSPC, errno.EROFS):
            raise
        fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, struct.pack("I", _GOING_NO_LOG_FLUSH))
