"""What callers of the runtime pass in and get back."""

from __future__ import annotations

import os

import msgspec


class Stdio(msgspec.Struct, frozen=True):
    """Borrowed descriptors for 0, 1 and 2 of the process; None is /dev/null."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None

    @classmethod
    def inherited(cls) -> Stdio:
        """Our own."""
        return cls(0, 1, 2)


class Terminal(msgspec.Struct, frozen=True):
    """Ask for a pty of this size; its master comes back in `Spawned`. 0 leaves the kernel's default."""

    rows: int = 0
    cols: int = 0


class Spawned(msgspec.Struct, frozen=True):
    """A process that was started. The caller owns both descriptors."""

    pid: int
    start_time: int
    pid_fd: int
    master_fd: int | None = None

    def close(self) -> None:
        """Close both descriptors; once."""
        os.close(self.pid_fd)
        if self.master_fd is not None:
            os.close(self.master_fd)
