"""Looks after the worker of one attached disk: starts it, speaks to it, replaces it, and cuts the disk off at the end.

    watch-worker thread   waits for the worker's end ─► another, on the same FUSE connection, which has unanswered
                          requests sent again ─► when that fails again and again: cut off
    watchdog thread       no request is answered ─► the worker is killed, and so replaced ─► still none: cut off
    volume's thread       attach, calls, detach

*Cut off* is the end: the FUSE connection is aborted, so that all who wait for the disk get EIO, now and later. It must
be detached, and attached again; what was synced is there.

`_replacing` is held while a worker is replaced, and taken by `stop`, so that none comes up after a detach.
"""

from __future__ import annotations

import itertools
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ... import errors
from ...ids import VolumeId
from ...kernel import fds as descriptors
from .. import build, crashpoint, messages
from ..requests import to_worker
from ..requests.base import A, Request
from ..serving import worker, zygote
from . import fusectl, watchdog

_log = logging.getLogger(__name__)
CALL_TIMEOUT_S = 60.0
_RESTART_TIMEOUT_S = 10.0
_COME_UP_S = 10.0
_RESTART_PAUSES_S = (0.02, 0.1, 0.5, 2.0, 5.0)
_STOP_TIMEOUT_S = 5.0
_PING_TIMEOUT_S = 2.0
# The first kernel that sends unanswered requests to another process when it asks.
_RESENDS_SINCE = (6, 9)


class Given(NamedTuple):
    """The descriptors that a worker is given; they stay the giver's."""

    fuse_fd: int
    delta_fd: int
    kept: list[int]


class Supervision:
    """See the module. `given` is asked at each start."""

    def __init__(
        self, volume: VolumeId, directory: str, lineage: Sequence[str], spawner: zygote.Zygote,
        given: Callable[[], Given],
    ) -> None:  # fmt: skip
        self._volume = volume
        self._directory = directory
        self._lineage = lineage
        self._zygote = spawner
        self._given = given
        self.restarts = 0
        self.is_cut_off = False
        # Number of the FUSE connection in fusectl. Asked once: stat is a request, which a stuck worker does not answer.
        self.connection = -1
        self._closing = False
        self._replacing = threading.Lock()
        self._worker_fd = -1
        self._stuck = watchdog.Watch()
        self._watcher: threading.Thread | None = None

    @property
    def socket(self) -> str:
        """Where the worker listens."""
        return os.path.join(self._directory, worker.SOCKET)

    # ---- speaking to it

    def call(self, request: Request[A]) -> A:
        """Have the worker run an operation of its disk."""
        connection = self.connect()
        try:
            return connection.call(request)[0]
        finally:
            connection.close()

    def connect(self, wait_s: float = _RESTART_TIMEOUT_S) -> messages.Connection:
        """A connection to the worker; waits that long for the successor of one that has just ended. PeerError."""
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return self._connect_once()
            except (OSError, errors.PeerError) as error:
                if self.is_cut_off or time.monotonic() > deadline:
                    raise errors.PeerError(f"reach the worker of {self._volume}: {error}") from error
                time.sleep(0.005)

    def _connect_once(self) -> messages.Connection:
        connection = messages.connect(self.socket, CALL_TIMEOUT_S)
        try:
            connection.call(to_worker.Ping())  # a connection to a worker that is being killed looks like any other
        except BaseException:
            connection.close()
            raise
        return connection

    # ---- its life

    def start(self, *, resend: bool) -> None:
        """Start a worker. `resend`: it has a predecessor, whose unanswered requests are sent again."""
        fuse_fd, delta_fd, kept = self._given()
        self.look_after(self._zygote.worker(self._directory, self._lineage, fuse_fd, delta_fd, kept, resend=resend))

    def look_after(self, pid: int) -> None:
        """Replace this worker when it ends."""
        try:
            self._worker_fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._worker_fd = -1  # gone already
        self._watcher = threading.Thread(target=self._replace_when_dead, name="watch-worker", daemon=True)
        self._watcher.start()

    def renew(self) -> bool:
        """Replace a worker of another build, as if it had died, which nobody above notices. False when the disk has no
        worker of this build afterwards: this kernel cannot do it, or the new one does not come up."""
        mine = build.identity()
        if self._build() == mine:
            return True
        if not can_resend(os.uname().release):
            return False
        _log.info("volume %s: its worker is of another build: a new one takes over", self._volume)
        self.call(to_worker.Flush())  # less to replay; what comes after it is in the log of changes
        signal.pidfd_send_signal(self._worker_fd, signal.SIGKILL)
        deadline = time.monotonic() + _COME_UP_S
        while not self.is_cut_off and time.monotonic() < deadline:
            if self._build() == mine:
                return True
            time.sleep(_RESTART_PAUSES_S[0])
        return False

    def _build(self) -> str | None:
        """Of the worker that answers; None for one that does not say."""
        connection = self.connect()
        try:
            return connection.call(to_worker.Ping())[0].build
        finally:
            connection.close()

    def _replace_when_dead(self) -> None:
        if self._worker_fd >= 0:
            descriptors.readable([self._worker_fd])
            os.close(self._worker_fd)
            self._worker_fd = -1
        with self._replacing:
            if not (self._closing or self.is_cut_off):
                self.replace()

    def replace(self) -> None:
        """Start another worker; when that fails again and again, cut the disk off."""
        self.restarts += 1
        if has_ended(self._given().fuse_fd):
            self._cut_off("its FUSE connection has ended")
            return
        if not can_resend(os.uname().release):
            self._cut_off("this kernel does not send another worker the requests of one that ended; attach it again")
            return
        _log.warning("volume %s: its worker ended, starting another", self._volume)
        if not self._comes_up():
            self._cut_off("its worker does not come up")
            return
        crashpoint.reach("replace: worker is up")

    def _comes_up(self) -> bool:
        deadline = time.monotonic() + _COME_UP_S
        for pause_s in _RESTART_PAUSES_S:
            try:
                self.start(resend=True)
                return True
            except (errors.PilotError, OSError) as error:
                _log.error("volume %s: start its worker: %s", self._volume, error)
            if time.monotonic() > deadline:
                break
            time.sleep(pause_s)
        return False

    def _cut_off(self, why: str) -> None:
        _log.error("volume %s is cut off: %s", self._volume, why)
        self.is_cut_off = True
        self.abort()

    def abort(self) -> None:
        """Fail all that waits for this disk, now and later: a stuck disk must not hang the host."""
        try:
            fusectl.abort(self.connection)
        except FileNotFoundError:
            pass  # the connection is gone already, and so is all that waited for it

    # ---- whether it is stuck

    def watch(self, now_s: float) -> None:
        """Look whether the disk is stuck, and do something about it."""
        if self._closing or self.is_cut_off:
            return
        verdict = self._stuck.observe(now_s, watchdog.Observation(fusectl.waiting(self.connection), self._answered()))
        if verdict is not watchdog.Verdict.FINE:
            _log.error("volume %s: no request is answered: %s", self._volume, verdict.value)
        if verdict is watchdog.Verdict.REPLACE:
            # A negative one means that it has just ended, and is being replaced anyway: EBADF, an OSError.
            signal.pidfd_send_signal(self._worker_fd, signal.SIGKILL)
        elif verdict is watchdog.Verdict.ABORT:
            self._cut_off("it stays stuck")

    def _answered(self) -> int | None:
        try:
            connection = messages.connect(self.socket, _PING_TIMEOUT_S)
            try:
                signs = connection.call(to_worker.Ping())[0]
            finally:
                connection.close()
        except (OSError, errors.PeerError):
            return None  # silent, or just being replaced: the watchdog counts either as no progress
        if signs.fenced:
            self._cut_off(signs.fenced)
        return signs.answered

    # ---- its end

    def stop(self) -> None:
        """End the worker; no other comes up."""
        with self._replacing:  # a successor that is just coming up is stopped too
            self._closing = True
        if not self.is_cut_off:
            try:
                self.call(to_worker.Stop())
                return
            except (errors.PilotError, OSError) as error:
                _log.warning("volume %s: stop its worker: %s; killing it", self._volume, error)
        try:
            signal.pidfd_send_signal(self._worker_fd, signal.SIGKILL)
        except OSError as error:
            _log.debug("kill worker: %s", error)  # it has ended already

    def give_up(self) -> None:
        """Nothing is replaced any more: the descriptors are about to be closed."""
        self._closing = True

    def join(self) -> None:
        """Wait for the thread that looks after the worker, so that nobody uses our descriptors any more."""
        if self._watcher is not None:
            self._watcher.join(_STOP_TIMEOUT_S)


def can_resend(release: str) -> bool:
    """Whether a kernel of this release (uname) sends a new worker the requests that its predecessor left unanswered."""
    major, minor = (int("".join(itertools.takewhile(str.isdigit, part))) for part in release.split(".")[:2])
    return (major, minor) >= _RESENDS_SINCE


def has_ended(fuse_fd: int) -> bool:
    """Whether the FUSE connection of this descriptor is gone for good."""
    poll = select.poll()
    poll.register(fuse_fd, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
