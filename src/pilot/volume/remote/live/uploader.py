"""The thread that keeps the store at most about a second behind a disk.

    wait until something is dirty ─ settle (half a second; not when 8 MiB are dirty or somebody waits) ─ cut ─ send ─ …

Writers go on meanwhile; only one batch is under way, and it is tried unchanged until the store has it. Fenced (when a
batch is confirmed, or meanwhile by `heartbeat`): the disk is told, and never acknowledges anything again. Any other
error that is not the store's silence is kept as `error`, and the whole is tried again after a pause: an operator may
repair what is wrong.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from .... import errors
from ....kernel import syscalls
from ...books.batch import Batch, Sent
from ..log import hold, sending
from ..log.codec import Codec
from ..objects import store
from . import heartbeat

_log = logging.getLogger(__name__)
T = TypeVar("T")
_SETTLE_S = 0.5
_RETRY_S = 5.0
_ATTEMPT_S = 30.0


class Outlet(sending.Source, Protocol):
    """The disk, as the uploader sees it."""

    dirty: threading.Event
    hurry: threading.Event

    def cut_batch(self, *, whole: bool) -> Batch:
        """Everything acknowledged so far; `whole`: with what a snapshot needs. Its slots stay until `batch_sent`."""

    def batch_sent(self, batch: Batch, sent: Sent | None, /) -> None:
        """The store has it (None: it said nothing new)."""

    def batch_dropped(self, batch: Batch, /) -> None:
        """It was not sent, and will not be."""

    def fence(self, why: str) -> None:
        """Acknowledge nothing any more."""


class Uploader:
    """See the module. `resume` claims the disk and says from where on; `ready` whether its ancestors are durable."""

    def __init__(self, disk: Outlet, resume: Callable[[], hold.Hold], ready: Callable[[], bool], packer: Codec) -> None:
        self._disk = disk
        self._resume = resume
        self._ready = ready
        self._packer = packer
        self._draining = threading.Event()
        self._given_up = threading.Event()
        self.error: str | None = None
        self.drained = False
        self._hold: hold.Hold | None = None
        self._is_sending = False
        self._heartbeat = heartbeat.Heartbeat(self._check_holder, self._is_active, self._lose)
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._thread.start()
        self._heartbeat.start()

    def drain(self, deadline_s: float) -> bool:
        """Send what there is and end; False when that took too long (what is missing is sent by the next one)."""
        if self._thread.ident is None:
            return False  # never started
        self._draining.set()
        self._disk.hurry.set()
        self._disk.dirty.set()
        self._thread.join(deadline_s)
        self._given_up.set()
        self._thread.join(_ATTEMPT_S)
        self._heartbeat.stop()
        return self.drained

    def _check_holder(self) -> None:
        if (held := self._hold) is not None:
            held.check_holder()

    def _is_active(self) -> bool:
        return self._is_sending or self._disk.dirty.is_set()

    def _lose(self, error: hold.Fenced) -> None:
        _log.error("%s", error)
        self.error = str(error)
        self._disk.fence(str(error))
        self._given_up.set()

    def _run(self) -> None:
        while not self._given_up.is_set():
            try:
                self._session()
                self.drained = True
                return
            except hold.Fenced as error:
                self._lose(error)
                return
            except _GivenUpError:
                return
            except Exception as error:  # noqa: BLE001 - the edge of a thread: without it nothing would ever be durable
                _log.warning("upload: %s", error, exc_info=not isinstance(error, errors.PilotError))
                self.error = str(error)
            if self._draining.is_set():
                return
            self._given_up.wait(_RETRY_S)

    def _session(self) -> None:
        self._hold = self._try(self._resume)
        sender = sending.Sender(self._hold, self._packer)
        while not self._ready():
            if self._given_up.wait(0.1):
                raise _GivenUpError
        while True:
            last = self._draining.is_set()
            self._round(sender, whole=sender.wants_snapshot or (last and sender.replayed > 0))
            if last:
                self._try(sender.close)
                return
            syscalls.libc.malloc_trim(0)  # segments are the largest things that a worker ever holds
            self._wait()

    def _wait(self) -> None:
        """Until there is something to send."""
        self._is_sending = False
        self._disk.dirty.wait()
        self._disk.hurry.wait(_SETTLE_S)
        self._disk.hurry.clear()
        self._disk.dirty.clear()

    def _round(self, sender: sending.Sender, *, whole: bool) -> None:
        self._is_sending = True
        batch = self._disk.cut_batch(whole=whole)
        try:
            if not sender.is_news(batch):
                self._try(sender.hold.confirm)
                self._disk.batch_sent(batch, None)
                return
            sent = self._try(lambda: sender.send(batch, self._disk))
        except BaseException:
            self._disk.batch_dropped(batch)
            raise
        self._disk.batch_sent(batch, sent)

    def _try(self, what: Callable[[], T]) -> T:
        """Until the store answers, or we are told to give up."""
        while not self._given_up.is_set():
            try:
                done = store.retry(what, _ATTEMPT_S, self._given_up)
                self.error = None
                return done
            except errors.PeerError as error:
                _log.warning("upload: %s; trying again", error)
                self.error = str(error)
        raise _GivenUpError


class _GivenUpError(Exception):
    """Told to end before everything was sent."""
