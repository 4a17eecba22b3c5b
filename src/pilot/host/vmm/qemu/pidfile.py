"""Processes that outlive pilotd, found again by a pid file that they lock for as long as they live.

The lock is the truth and the pid a note beside it: a process that has died, in whatever way, holds none, so no start
time is needed to tell it from a later process of the same pid. QEMU's `-pidfile` takes the same lock (fcntl, open file
description).
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct

# struct flock: type, whence, start, length (0: all of it), pid
_FLOCK = struct.Struct("hhqqi")
_WHOLE_FILE = (os.SEEK_SET, 0, 0, 0)


def hold(path: str) -> int | None:
    """Become the process of this pid file, as long as the descriptor stays open; None when another process is."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, *_WHOLE_FILE))
    except BlockingIOError:
        os.close(fd)
        return None
    os.ftruncate(fd, 0)
    os.write(fd, b"%d\n" % os.getpid())
    return fd


def find(path: str) -> int | None:
    """The pid of the process that holds the file; None when there is none."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, *_WHOLE_FILE))
        held = _FLOCK.unpack(answer)[0] != fcntl.F_UNLCK
        text = os.pread(fd, 32, 0).strip() if held else b""
        # Empty: locked a moment ago and not written yet; the caller finds it the next time.
        return int(text) if text else None
    finally:
        os.close(fd)


def end(path: str, signal_number: signal.Signals, timeout_s: float) -> bool:
    """Send the signal to the process of this file and wait for its end; whether it is gone."""
    pid_fd = _pid_fd(path)
    if pid_fd is None:
        return True
    try:
        signal.pidfd_send_signal(pid_fd, signal_number)
        return _wait_ended(pid_fd, timeout_s)
    except ProcessLookupError:
        return True
    finally:
        os.close(pid_fd)


def wait(path: str, timeout_s: float) -> bool:
    """Wait for the end of the process of this file; whether it is gone."""
    pid_fd = _pid_fd(path)
    if pid_fd is None:
        return True
    try:
        return _wait_ended(pid_fd, timeout_s)
    finally:
        os.close(pid_fd)


def _pid_fd(path: str) -> int | None:
    pid = find(path)
    if pid is None:
        return None
    try:
        pid_fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # Asked again: had the process ended before the descriptor was open, it could be another's of the same pid.
    if find(path) == pid:
        return pid_fd
    os.close(pid_fd)
    return None


def _wait_ended(pid_fd: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(pid_fd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))
