"""Keeps the resolver running: found again when it outlived the last pilotd, started when there is none, and watched.

    pilotd ── resolver.sock (SO_PEERCRED: its pid) ── pidfd ── ended? ── start again, with growing pauses

It is in a session of its own, so it outlives pilotd, whatever ends that. One that was started with other options is
ended and started anew: what it knows is in files, and what it has pinned is in the kernel.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import msgspec

from ... import errors
from ...kernel import fds
from ...machine import dial
from . import control

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
_PEERCRED = struct.Struct("3i")
_MODULE = "pilot.host.network.resolver.main"


class Supervisor:
    """`ensure()` before anything else; `watch()` keeps it so until `release()` or `stop()`."""

    def __init__(self, directory: str, options: Sequence[str], log_path: str) -> None:
        self._directory = directory
        self._arguments = ["--directory", directory, *options]
        self._log_path = log_path
        self._released = threading.Event()
        self._watcher: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None  # one that an earlier pilotd started is init's to reap
        self._wake_fd, self._wake = os.pipe2(os.O_CLOEXEC)

    def ensure(self) -> int:
        """The pid of the resolver that answers, with our options. `HostError`: it does not come up."""
        pid = self.find()
        if pid is not None and self._differs():
            log.info("resolver has other options, starting it anew", extra={"pid": pid})
            self._end(pid)
            pid = None
        return self._start() if pid is None else pid

    def find(self) -> int | None:
        """The pid of who listens on the socket now."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            try:
                with dial.short_path(control.socket_path(self._directory)) as address:
                    probe.connect(address)
            except OSError:
                return None
            pid, _, _ = _PEERCRED.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
            return int(pid)

    def watch(self) -> None:
        """From now on a resolver that ends is started again."""
        self._watcher = threading.Thread(target=self._watch, name="resolver-watch", daemon=True)
        self._watcher.start()

    def release(self) -> None:
        """Stop watching; the resolver runs on."""
        self._unwatch()
        if self._child is not None and self._child.poll() is None:
            self._child.returncode = 0  # init's from now on: that nobody has waited for it is no mistake

    def stop(self) -> None:
        """Stop watching, end it."""
        self._unwatch()
        pid = self.find()
        if pid is not None:
            self._end(pid)
        if self._child is not None:
            self._child.poll()  # one that had ended already

    def _unwatch(self) -> None:
        self._released.set()
        os.write(self._wake, b"x")
        if self._watcher is not None:
            self._watcher.join(STOP_TIMEOUT_S)

    def _differs(self) -> bool:
        try:
            answer = control.ask(self._directory, control.Question("settings"))
            return msgspec.json.decode(answer, type=list[str]) != self._arguments
        except (errors.PilotError, *errors.UNREADABLE):
            return True  # of another version, or on its way out

    def _start(self) -> int:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        log_fd = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            process = self._child = subprocess.Popen(
                [sys.executable, "-m", _MODULE, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                start_new_session=True,
            )
        finally:
            os.close(log_fd)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.find() == process.pid:
                log.info("resolver started", extra={"pid": process.pid})
                return process.pid
            if process.poll() is not None:
                hint = f"see {self._log_path}"
                raise errors.HostError(f"start the resolver: it ended with {process.returncode}", hint=hint)
            time.sleep(POLL_S)
        process.kill()
        process.wait()
        hint = f"see {self._log_path}"
        raise errors.HostError(f"start the resolver: not ready in {READY_TIMEOUT_S:.0f} s", hint=hint)

    def _watch(self) -> None:
        pause_s = POLL_S
        while not self._released.is_set():
            began = time.monotonic()
            try:
                self._await_end(self.ensure())
            except (errors.PilotError, OSError) as error:
                log.error("the resolver is not running", extra={"error": str(error)})
            pause_s = POLL_S if time.monotonic() - began > READY_TIMEOUT_S else min(pause_s * 2, READY_TIMEOUT_S)
            self._released.wait(pause_s)

    def _await_end(self, pid: int) -> None:
        try:
            pid_fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            ended = pid_fd in fds.readable([pid_fd, self._wake_fd])
        finally:
            os.close(pid_fd)
        if ended:
            self._reap(pid)
            log.warning("the resolver ended", extra={"pid": pid})

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
            pass  # it has ended by itself
        finally:
            os.close(pid_fd)
        self._reap(pid)

    def _reap(self, pid: int) -> None:
        if self._child is not None and self._child.pid == pid:
            self._child.wait()
