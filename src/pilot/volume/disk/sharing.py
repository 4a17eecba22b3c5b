"""Who reads a slab. Chunks become holes under nobody's eyes: only who has the slab for itself evicts from it.

    disks/<disk>/readers     locked shared by each process that has the disk open, as its own or as an ancestor, or
                             reads it beside its worker; locked alone, for moments, by the one of them that evicts

What a process believes to be here stays true because of it: who opens the slab waits until an eviction is done, and
reads what is in the store only (meta.db) after that. It is an open file description lock, not a flock, because a flock
that is turned from shared to exclusive is let go of in between. The kernel lets go when the process dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator

from ... import errors

FILE = "readers"
_TIMEOUT_S = 10.0
_PAUSE_S = 0.005


class Readers:
    """One reader of the slab in `directory`. For one thread at a time, except `close`."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, FILE)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._share()
        except BaseException:
            self.close()
            raise

    def _share(self) -> None:
        """HostError when somebody evicts for longer than anybody should."""
        deadline = time.monotonic() + _TIMEOUT_S
        while not self._lock(fcntl.F_RDLCK):
            if time.monotonic() > deadline:
                raise errors.HostError(f"open disk: {self._path}: another process does not let go of it")
            time.sleep(_PAUSE_S)

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else has the slab open; if so nobody opens it within the block."""
        if not self._lock(fcntl.F_WRLCK):
            yield False
            return
        try:
            yield True
        finally:
            self._lock(fcntl.F_RDLCK)  # nobody can be in the way of that

    def close(self) -> None:
        """Read no more."""
        os.close(self._fd)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True
