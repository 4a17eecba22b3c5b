"""Keeps volumed running: found again when it outlived the last pilotd, started when there is none, and watched.

    pilotd ── volumed.sock (SO_PEERCRED: its pid) ── pidfd ── ended? ── start again, with growing pauses

volumed lives in its own cgroup, `pilot-<tag>/volumed`, beside the machines' and under no limit of theirs: a daemon that
serves a filesystem must never wait for memory that only its writers can free. It goes there itself, before it forks
anything (PILOT_JOIN: descriptors to write "0" to). It is in a session of its own, so it
outlives pilotd, whatever ends that. One that was started with other options is refused: a disk would not be where the
command line says that it is.
"""

from __future__ import annotations

import contextlib
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

from .. import errors
from ..kernel import cgroups, fds, hierarchies
from ..machine import dial
from ..volume.client import VolumeClient

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02
_PEERCRED = struct.Struct("3i")


class Volumed:
    """`ensure()` before anything else; `watch()` keeps it so until `release()` or `stop()`."""

    def __init__(self, state_dir: str, tag: str, options: Sequence[str] = ()) -> None:
        self._state_dir = state_dir
        self._options = list(options)
        self._group = f"/pilot-{tag}/volumed"
        self.socket_path = os.path.join(state_dir, "volumed.sock")
        self._client = VolumeClient(self.socket_path, timeout_s=READY_TIMEOUT_S)
        self._released = threading.Event()
        self._watcher: threading.Thread | None = None
        wake_fd, self._wake = os.pipe2(os.O_CLOEXEC)
        self._wake_fd = wake_fd

    def ensure(self) -> int:
        """The pid of the volumed that answers, started when none does. `HostError`: it does not come up; `StateError`:
        the one that runs has other options."""
        pid = self.find()
        if pid is None:
            return self._start()
        if self._is_old(pid):
            # Disks that are attached stay so: their workers outlive it, and the next one renews them.
            log.info("volumed is of another build: it is replaced", extra={"pid": pid})
            _end(pid)
            return self._start()
        if self._differs(pid):
            raise errors.StateError(
                f"use volumed {pid}: it was started with another store, durability or cache size",
                hint=f"start pilotd with the same options, or end volumed first: kill -TERM {pid}; machines run on",
            )
        return pid

    def _is_old(self, pid: int) -> bool:
        try:
            return not self._client.is_of_this_build()
        except errors.PeerError:
            return False  # it is ending, and whoever watches it starts the next one

    def _differs(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().decode(errors="surrogateescape").split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            arguments = []
        # None at all: it is ending, and whoever watches it starts the next one. Five come before the options.
        return bool(arguments) and arguments[5:] != self._options

    def find(self) -> int | None:
        """The pid of who listens on the socket now."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            try:
                with dial.short_path(self.socket_path) as address:
                    probe.connect(address)
            except OSError:
                return None
            pid, _, _ = _PEERCRED.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
            return int(pid)

    def _start(self) -> int:
        log_path = os.path.join(self._state_dir, "volumed.log")
        group = cgroups.Cgroup.create(hierarchies.probe_hierarchies(), self._group)
        with contextlib.ExitStack() as opened:
            log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, log_fd)
            joins = group.join_descriptors()
            for fd in joins:
                opened.callback(os.close, fd)
            process = subprocess.Popen(
                [sys.executable, "-m", "pilot.volume.volumed.daemon", "--state-dir", self._state_dir, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                start_new_session=True,
                pass_fds=joins,
                env={**os.environ, "PILOT_JOIN": ",".join(map(str, joins))},
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.find() == process.pid:
                log.info("volumed started", extra={"pid": process.pid})
                return process.pid
            if process.poll() is not None:
                raise errors.HostError(f"start volumed: it ended with {process.returncode}", hint=f"see {log_path}")
            time.sleep(POLL_S)
        process.kill()
        process.wait()
        raise errors.HostError(f"start volumed: not ready within {READY_TIMEOUT_S:.0f} s", hint=f"see {log_path}")

    def watch(self) -> None:
        """From now on a volumed that ends is started again."""
        self._watcher = threading.Thread(target=self._watch, name="volumed-watch", daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        pause_s = POLL_S
        while not self._released.is_set():
            try:
                pid = self.ensure()
                began = time.monotonic()
                self._await_end(pid)
                pause_s = POLL_S if time.monotonic() - began > READY_TIMEOUT_S else min(pause_s * 2, READY_TIMEOUT_S)
            except (errors.PilotError, OSError) as error:
                log.error("volumed is not running", extra={"error": str(error)})
                pause_s = min(pause_s * 2, READY_TIMEOUT_S)
            self._released.wait(pause_s)

    def _await_end(self, pid: int) -> None:
        try:
            pid_fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            ready = fds.readable([pid_fd, self._wake_fd])
        finally:
            os.close(pid_fd)
        if pid_fd in ready:
            _reap(pid)
            log.warning("volumed ended", extra={"pid": pid})

    def release(self) -> None:
        """Stop watching; volumed runs on."""
        self._released.set()
        os.write(self._wake, b"x")
        if self._watcher is not None:
            self._watcher.join(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """Stop watching, end volumed, remove its cgroup. Only when no volume is attached any more."""
        self.release()
        pid = self.find()
        if pid is None:
            return
        _end(pid)
        group = cgroups.Cgroup(hierarchies.probe_hierarchies().paths(self._group))
        group.kill()
        group.delete()


def _end(pid: int) -> None:
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
    _reap(pid)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # an earlier pilotd's child: init's to reap
