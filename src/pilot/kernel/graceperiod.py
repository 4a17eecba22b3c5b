"""Shorter RCU grace periods of this host's kernel, for as long as somebody waits for several of them in a row.

FIFREEZE waits for three, one per level of writers, and holds the first level during the second and third: 10 ms each at
250 Hz, even of a filesystem at rest (Linux 6.18, freeze_super, percpu_down_write). Expedited ones take well below 1 ms:
the kernel interrupts each busy processor instead of waiting for it to pass by.

The switch is the host's, so it is shared, and put back:

    /sys/kernel/rcu_expedited    0  nobody wants it       2  one of us does       else  the administrator's: left alone
    flock of that file           shared: I want it     exclusive: I was the last, so 2 becomes 0

Who is killed in between leaves a 2 without a lock; the next `expedited` or `settle` puts it back. It never waits, and
where the switch is not to be had (read-only /sys, another kernel) the grace periods are as long as ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

SWITCH = "/sys/kernel/rcu_expedited"
_OFF, _OURS = b"0", b"2"


@contextlib.contextmanager
def expedited(switch: str = SWITCH) -> Iterator[None]:
    """Short grace periods in the block. Any number of processes and threads may be in one at once."""
    with contextlib.ExitStack() as stack:
        try:
            fd = os.open(switch, os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _value(fd) == _OFF:
                os.pwrite(fd, _OURS, 0)
        except OSError:
            pass  # slower, and right all the same
        else:
            stack.callback(_put_back, fd)
        yield


def settle(switch: str = SWITCH) -> None:
    """Put back what somebody left who was killed, unless others are in their block."""
    with expedited(switch):
        pass


def _put_back(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _value(fd) == _OURS:
            os.pwrite(fd, _OFF, 0)
    except OSError:
        pass  # others want it still: the last of them puts it back


def _value(fd: int) -> bytes:
    return os.pread(fd, 16, 0).strip()
