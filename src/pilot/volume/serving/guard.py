"""The process that holds a filesystem still: it syncs, freezes and thaws, and never for longer than its deadline.

volumed's side, and what the two say to each other, is drawn in `volumed.frozen`. It is a process of its own because
whoever freezes may wait in the kernel (`errand`) and may be killed.
"""

from __future__ import annotations

import os
import time

from ... import errors
from ...kernel import directio, freeze, graceperiod, syscalls
from ...kernel import fds as descriptors
from .. import messages
from ..requests.base import Answer, Failure

_CALM_SYNC_S = 0.02
_SYNC_ROUNDS = 8


def run(connection: messages.Connection, mount_fd: int, timeout_s: float) -> None:
    """The life of the guard."""
    syscalls.libc.prctl(15, b"volume-guard", 0, 0, 0)
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount_fd)
    try:
        _sync_until_calm(fd)
        connection.send(Answer())
        freeze.freeze(fd)
    except OSError as error:
        connection.send(Failure.of(error))
        return
    try:
        connection.send(Answer())
        is_asked = _is_asked(connection, timeout_s)
    except errors.PeerError:
        is_asked = False
    was_held = freeze.thaw(fd)
    graceperiod.settle()
    held = is_asked and was_held
    connection.send(Answer() if held else Failure(error="it did not hold until the thaw"))


def _is_asked(connection: messages.Connection, timeout_s: float) -> bool:
    """Whether we are told to thaw, in time."""
    return bool(descriptors.readable([connection.socket.fileno()], timeout_s)) and connection.receive() is not None


def _sync_until_calm(fd: int) -> None:
    for _ in range(_SYNC_ROUNDS):
        started = time.monotonic()
        directio.sync_filesystem(fd)
        if time.monotonic() - started < _CALM_SYNC_S:
            return
