"""The one door from Python to system calls that the standard library has no function for.

`call` raises `OSError` with errno and the path that was worked on; it never retries and never interprets. ctypes
releases the GIL around each call, so a slow mount does not stop other threads.
"""

from __future__ import annotations

import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

# Since 5.1 every architecture gives a new call the same number; older ones differ.
PIDFD_SEND_SIGNAL = 424
OPEN_TREE = 428
MOVE_MOUNT = 429
FSOPEN = 430
FSCONFIG = 431
FSMOUNT = 432
FSPICK = 433
PIDFD_GETFD = 438
MOUNT_SETATTR = 442
_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000


def bpf_number() -> int:
    """bpf(2)'s number here; ENOSYS as `OSError` on an architecture that this table lacks."""
    return _numbered(_BPF, "bpf")


def seccomp_number() -> int:
    """seccomp(2)'s number here; ENOSYS as `OSError` on an architecture that this table lacks."""
    return _numbered(_SECCOMP, "seccomp")


def _numbered(table: dict[str, int], name: str) -> int:
    machine = os.uname().machine
    if machine not in table:
        raise OSError(errno.ENOSYS, f"{name}: no system call number known for {machine}")
    return table[machine]


def call(number: int, *arguments: object, what: str, path: str | None = None) -> int:
    """Run system call `number`; `OSError(errno, "what: reason", path)` when it fails.

    Integers are passed as machine words (a plain Python int would be cut to 32 bits), the rest as ctypes passes it.
    """
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return checked(int(libc.syscall(ctypes.c_long(number), *words)), what, path)


def checked(result: int, what: str, path: str | None = None) -> int:
    """`result` of a libc call, or the `OSError` that its errno stands for when it is negative."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}", *([path] if path is not None else []))
    return result
