"""Keeps a daemon running: found again when it outlived the last pilotd, started when there is none, and watched.

    pilotd ── its socket (SO_PEERCRED: its pid) ── pidfd ── ended? ── start again, with growing pauses

A daemon is in a session of its own, so it outlives pilotd, whatever ends that. What differs from one daemon to the
next is how it is started, and what becomes of one that an earlier pilotd has started.

It has a cgroup of its own (`joining`), beside those of machines: what it takes is told apart, and ending all that is in
pilotd's does not end it. It goes there itself, before it has threads or children (`join`).
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from .. import errors
from ..kernel import cgroups, fds, hierarchies

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02
_PEERCRED = struct.Struct("3i")
_JOIN = "PILOT_JOIN"  # in the environment of a daemon: descriptors to write "0" to


@contextlib.contextmanager
def joining(group: str) -> Iterator[tuple[Sequence[int], Mapping[str, str]]]:
    """Descriptors to pass to a daemon, and its environment: it goes to the cgroup `group`, made here. `HostError`."""
    with contextlib.ExitStack() as opened:
        joins = cgroups.Cgroup.create(hierarchies.probe_hierarchies(), group).join_descriptors()
        for fd in joins:
            opened.callback(os.close, fd)
        yield joins, {**os.environ, _JOIN: ",".join(map(str, joins))}


def join() -> None:
    """The daemon's side: we are where whoever started us wants us. While there is one thread, and no child."""
    for fd in map(int, filter(None, os.environ.pop(_JOIN, "").split(","))):
        os.write(fd, b"0")
        os.close(fd)


def remove_group(group: str) -> None:
    """Whatever is left in that cgroup ends, and it is gone. Idempotent; `HostError`."""
    found = cgroups.Cgroup(hierarchies.probe_hierarchies().paths(group))
    if found.exists():
        found.kill()
        found.delete()


class Supervised(abc.ABC):
    """`ensure()` before anything else; `watch()` keeps it so until `release()` or `stop()`."""

    def __init__(self, name: str, socket_path: str, log_path: str) -> None:
        self.socket_path = socket_path
        self._name, self._log_path = name, log_path
        self._released = threading.Event()
        self._watcher: threading.Thread | None = None
        self._child: int | None = None  # ours to wait for; one that an earlier pilotd has started is init's
        self._wake_fd, self._wake = os.pipe2(os.O_CLOEXEC)

    @abc.abstractmethod
    def _launch(self, log_fd: int) -> subprocess.Popen[bytes]:
        """Start it, in a session of its own; what it says goes to `log_fd`, which stays ours."""

    @abc.abstractmethod
    def _why_not(self, pid: int) -> str | None:
        """Why the one that runs is to be replaced; None when it is as we want it. May refuse it with a `StateError`."""

    def ensure(self) -> int:
        """The pid of the one that answers, started when none does. `HostError`: it does not come up."""
        pid = self.find()
        if pid is None:
            return self._start()
        if (reason := self._why_not(pid)) is not None:
            log.info("%s is replaced", self._name, extra={"pid": pid, "reason": reason})
            self._end(pid)
            return self._start()
        return pid

    def find(self) -> int | None:
        """The pid of who listens on the socket now."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            try:
                with fds.short_path(self.socket_path) as address:
                    probe.connect(address)
            except OSError:
                return None
            pid, _, _ = _PEERCRED.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
            return int(pid)

    def watch(self) -> None:
        """From now on one that ends is started again."""
        self._watcher = threading.Thread(target=self._watch, name=f"{self._name}-watch", daemon=True)
        self._watcher.start()

    def release(self) -> None:
        """Stop watching; it runs on."""
        self._released.set()
        os.write(self._wake, b"x")
        if self._watcher is not None:
            self._watcher.join(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """Stop watching, end it."""
        self.release()
        if (pid := self.find()) is not None:
            self._end(pid)
        elif self._child is not None:
            self._reap(self._child)  # it had ended already

    # ---- coming up

    def _start(self) -> int:
        self._await_the_last()
        log_fd = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            process = self._launch(log_fd)
        finally:
            os.close(log_fd)
        process.returncode = 0  # waited for by `_reap`; once we have ended by init
        self._child = pid = process.pid
        pid_fd = os.pidfd_open(pid)
        try:
            self._await_ready(pid, pid_fd)
        finally:
            os.close(pid_fd)
        log.info("%s started", self._name, extra={"pid": pid})
        return pid

    def _await_the_last(self) -> None:
        """One of ours that ended before anybody looked is waited for, or it is a zombie for as long as we live."""
        if self._child is None:
            return
        pid_fd = os.pidfd_open(self._child)
        try:
            fds.readable([pid_fd], STOP_TIMEOUT_S)  # its socket is closed before it has ended
        finally:
            os.close(pid_fd)
        self._reap(self._child)

    def _await_ready(self, pid: int, pid_fd: int) -> None:
        hint = f"see {self._log_path}"
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.find() == pid:
                return
            if fds.readable([pid_fd], POLL_S):
                raise errors.HostError(f"start {self._name}: it ended with {self._reap(pid)}", hint=hint)
        self._end(pid)
        raise errors.HostError(f"start {self._name}: not ready within {READY_TIMEOUT_S:.0f} s", hint=hint)

    # ---- its life

    def _watch(self) -> None:
        pause_s = POLL_S
        while not self._released.is_set():
            began = time.monotonic()
            try:
                self._await_end(self.ensure())
            except (errors.PilotError, OSError) as error:
                log.error("%s is not running", self._name, extra={"error": str(error)})
            # One that ran for long has earned a start at once.
            pause_s = POLL_S if time.monotonic() - began > READY_TIMEOUT_S else min(pause_s * 2, READY_TIMEOUT_S)
            self._released.wait(pause_s)

    def _await_end(self, pid: int) -> None:
        try:
            pid_fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            has_ended = pid_fd in fds.readable([pid_fd, self._wake_fd])
        finally:
            os.close(pid_fd)
        if has_ended:
            self._reap(pid)
            log.warning("%s ended", self._name, extra={"pid": pid})

    # ---- its end

    def _end(self, pid: int) -> None:
        try:
            pid_fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(pid_fd, number)
                if fds.readable([pid_fd], STOP_TIMEOUT_S):
                    break
        except ProcessLookupError:
            pass  # it has just ended
        finally:
            os.close(pid_fd)
        self._reap(pid)

    def _reap(self, pid: int) -> int | None:
        """How it ended, when it was ours and has."""
        if pid != self._child:
            return None
        found, status = os.waitpid(pid, os.WNOHANG)
        if not found:
            return None  # killed, and on its way out
        self._child = None
        return os.waitstatus_to_exitcode(status)
