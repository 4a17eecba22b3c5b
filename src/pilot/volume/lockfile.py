"""One holder of a directory at a time, by flock on a file in it: the kernel lets go when the holder dies."""

from __future__ import annotations

import fcntl
import os
import time

from .. import errors

TIMEOUT_S = 3.0


def take(path: str, refusal: str) -> int:
    """The locked file's descriptor: held until it is closed. StateError with `refusal` when it stays taken.

    Waits a little: a killed predecessor may still be on its way out.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise errors.StateError(refusal) from None
            time.sleep(0.005)
