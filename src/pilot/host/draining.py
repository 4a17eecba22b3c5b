"""`pilotd drain`: a pilotd ends, and leaves nothing running: before the host goes down, or its disks are copied.

Sprites are stopped as `sprite stop` does and wake with their next use; Machines of the Machines API are stopped, and
stay so until they are started. volumed, the resolver and all networks of machines end. (SIGTERM ends pilotd alone.)

Which process it is, is in the lock that it holds; that it has the lock open is looked at before it gets the signal.
What it writes there last says that it has ended all else: one that was killed, or that something did not end for, has
not. Neither has one that was not the last: somebody's supervisor has started another.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

from .. import errors
from ..kernel import files

SIGNAL = signal.SIGUSR1
LOCK = "lock"
_DONE = "drained"


def drain(state_dir: str, patience_s: float) -> None:
    """It has ended, and nothing of it runs, when this returns. `NotFound`: no pilotd serves that directory;
    `HostError`: it goes on ending, or has ended and left something."""
    path = os.path.join(state_dir, LOCK)
    if not os.path.exists(path):
        raise errors.NotFound(f"drain {state_dir}: no pilotd has ever served it")
    with files.alone(path) as is_free:
        if is_free:
            raise errors.NotFound(f"drain {state_dir}: no pilotd serves it")
    with contextlib.closing(_Process(_holder(path))) as process:
        if not _has_open(process.pid, path):
            raise errors.HostError(f"drain {state_dir}: process {process.pid} is not the one that serves it; try again")
        process.send(SIGNAL)
        if not process.ended_within(patience_s):
            raise errors.HostError(
                f"drain {state_dir}: not done after {patience_s:.0f} s", hint="it goes on; look again"
            )
        if _said(path) != [str(process.pid), _DONE]:
            raise errors.HostError(
                f"drain {state_dir}: pilotd has ended, but not all of its machines and disks",
                hint="its log says which; start pilotd, and drain again",
            )


class _Process:
    """By a descriptor: its number may be another's a moment later."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError as error:
            raise errors.HostError(f"drain: process {pid} has ended; try again") from error

    def send(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._fd, number)

    def ended_within(self, seconds: float) -> bool:
        return bool(select.select([self._fd], [], [], seconds)[0])

    def close(self) -> None:
        os.close(self._fd)


def _holder(path: str) -> int:
    said = _said(path)
    if len(said) != 1 or not said[0].isdecimal():
        raise errors.HostError(f"drain: {path} does not say who holds it; try again", hint="a pilotd of before: end it")
    return int(said[0])


def _said(path: str) -> list[str]:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read(64).split()


def _has_open(pid: int, path: str) -> bool:
    wanted = os.stat(path)
    directory = f"/proc/{pid}/fd"
    for name in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            if os.path.samestat(wanted, os.stat(f"{directory}/{name}")):
                return True
    return False


def note(lock_fd: int) -> None:
    """Ours is the process that holds it."""
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, f"{os.getpid()}\n".encode(), 0)


def note_done(lock_fd: int) -> None:
    """Ours has drained. Nothing comes after this but its end."""
    os.pwrite(lock_fd, f"{os.getpid()}\n{_DONE}\n".encode(), 0)
