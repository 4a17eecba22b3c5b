"""From whoever has something to tell to the log that it belongs to, by a queue and one thread.

    tell ─► queue (at most MOST_WAITING) ─► thread "audit": journal by subject ─► append, then sync when it is due
       └─ full, or asked too often ─► counted ─────────────────────────────────► "lost", before the next record

Nobody waits for a disk to be audited. What cannot be written (a full queue, a full disk) is counted, and the count is
written as soon as anything can be: by reason, with the time of the first. What machines do by themselves, and what is
refused, has a rate: nobody drives what others did out of a log that is bounded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator

from ... import errors
from ...wire import faults, timestamps
from ...wire.audit import Kind
from ..identity.rates import Rates
from . import records
from .journal import Bounds, Journal
from .records import Decision, Record
from .signing import Signer

log = logging.getLogger(__name__)

MOST_WAITING = 16384
FLUSH_S = 10.0
BURST, PER_S = 200, 1.0
_QUEUE_FULL = "more came than could be written"
_TOO_OFTEN = "it was asked too often"


@dataclasses.dataclass
class _Lost:
    """How many, since when, and why."""

    count: int
    since_us: int


@dataclasses.dataclass(frozen=True)
class _Told:
    subject: str
    record: Record


@dataclasses.dataclass(frozen=True)
class Part:
    """A log as of one moment: files that hold what was asked for, among other things, and the signed head's line."""

    paths: tuple[str, ...]
    last: int
    head: bytes


class Writer:
    """`tell` on any thread; so is everything else."""

    def __init__(
        self, directory: str, signer: Signer, bounds: Bounds | None = None, rates: Rates | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:  # fmt: skip
        self.signer = signer
        self._directory = directory
        self._bounds = bounds
        self._rates = rates or Rates(BURST, PER_S)
        self._most_waiting = most_waiting
        self._queue: queue.SimpleQueue[_Told | threading.Event | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # of the journals
        self._journals: dict[str, Journal] = {}
        self._lost_lock = threading.Lock()
        self._lost: dict[str, dict[str, _Lost]] = {}
        self._followers: set[Callable[[], None]] = set()
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def tell(self, subject: str, record: Record, *, is_rated: bool = False) -> None:
        """Never waits. `is_rated`: of what others than those who may, or the machine itself, bring about."""
        if is_rated:
            try:
                self._rates.take(subject)
            except faults.Exhausted:
                self._lose(subject, _TOO_OFTEN)
                return
        if self._queue.qsize() >= self._most_waiting:
            self._lose(subject, _QUEUE_FULL)
            return
        self._queue.put(_Told(subject, record))

    def part(self, subject: str, since: int = 0) -> Part:
        """With all that was told before. `Unavailable` when the disk does not take it in time; `HostError`."""
        self._flush()
        try:
            with self._lock:
                journal = self._journal(subject)
                return Part(tuple(journal.paths(since)), journal.last.seq, journal.head())
        except OSError as error:
            raise errors.HostError(f"read the audit log: {(error.strerror or str(error)).lower()}") from error
        finally:
            self._queue.put(threading.Event())  # the thread looks at what is due: a log that was opened is not synced

    @contextlib.contextmanager
    def following(self, told: Callable[[], None]) -> Iterator[None]:
        """`told` is called, on the writer's thread, when something was written."""
        self._followers.add(told)
        try:
            yield
        finally:
            self._followers.discard(told)

    def forget(self, is_gone: Callable[[str], bool], before_s: float) -> None:
        """Logs of who is gone, and of whom nothing was told since then."""
        for subject in subjects_in(self._directory):
            path = os.path.join(self._directory, subject)
            if is_gone(subject) and _changed_s(path) < before_s:
                with self._lock:
                    self._journals.pop(subject, None)
                    shutil.rmtree(path)

    def subjects(self) -> list[str]:
        """All that there is a log of."""
        return sorted(subjects_in(self._directory))

    def close(self) -> None:
        """All that was told is on the disk, as far as it takes it."""
        self._queue.put(None)
        self._thread.join()

    # The thread's side

    def _run(self) -> None:
        while (told := self._next()) is not None:
            if isinstance(told, threading.Event):
                told.set()
                continue
            with self._lock:
                self._write(told)
            self._sync(only_due=True)
            for follower in tuple(self._followers):
                follower()
        self._end()

    def _next(self) -> _Told | threading.Event | None:
        """What comes; what is due meanwhile is synced."""
        while True:
            try:
                return self._queue.get(timeout=self._until_due_s())
            except queue.Empty:
                self._sync(only_due=True)

    def _until_due_s(self) -> float | None:
        due = [each.sync_due_s for each in list(self._journals.values()) if each.sync_due_s is not None]
        return max(min(due) - time.monotonic(), 0.0) if due else None

    def _write(self, told: _Told) -> None:
        try:
            journal = self._journal(told.subject)
            self._write_lost(journal)
            journal.append(told.record)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            if self._lose(told.subject, why):
                log.error("audit: record not written", extra={"subject": told.subject, "error": why})
        except Exception:  # a bug, which must not end the log of all others
            log.exception("audit: record not written", extra={"subject": told.subject})
            self._lose(told.subject, "an internal error")

    def _write_lost(self, journal: Journal) -> None:
        for why, lost in list(self._lost.get(journal.subject, {}).items()):
            count, since = lost.count, timestamps.of_us(lost.since_us)
            detail: records.Detail = {"count": count, "since": since, "why": why}
            journal.append(Record(Kind.LOG, "lost", Decision.NOTED, time.time_ns() // 1000, detail=detail))
            self._written_off(journal.subject, why, count)

    def _written_off(self, subject: str, why: str, count: int) -> None:
        with self._lost_lock:
            reasons = self._lost[subject]
            reasons[why].count -= count
            if not reasons[why].count:
                del reasons[why]
            if not reasons:
                del self._lost[subject]

    def _lose(self, subject: str, why: str) -> bool:
        """Whether it is the first for that reason."""
        with self._lost_lock:
            lost = self._lost.setdefault(subject, {}).setdefault(why, _Lost(0, time.time_ns() // 1000))
            lost.count += 1
            return lost.count == 1

    def _journal(self, subject: str) -> Journal:
        journal = self._journals.get(subject)
        if journal is None:
            path = os.path.join(self._directory, subject)
            journal = self._journals[subject] = Journal(path, subject, self.signer, self._bounds)
        return journal

    def _sync(self, *, only_due: bool) -> None:
        now_s = time.monotonic()
        for journal in list(self._journals.values()):
            due_s = journal.sync_due_s
            if due_s is None or (only_due and due_s > now_s):
                continue
            try:
                with self._lock:
                    journal.sync()
            except OSError as error:
                journal.put_off()
                log.error("audit: log not synced", extra={"subject": journal.subject, "error": str(error)})

    def _end(self) -> None:
        with self._lock:
            for journal in self._journals.values():
                try:
                    self._write_lost(journal)
                    journal.close()
                except OSError as error:
                    log.error("audit: log not closed", extra={"subject": journal.subject, "error": str(error)})

    def _flush(self) -> None:
        written = threading.Event()
        self._queue.put(written)
        if not written.wait(FLUSH_S):
            raise faults.Unavailable("the audit log is not written as fast as it comes", hint="try again")


def subjects_in(directory: str) -> list[str]:
    """`host` has a log of its own, others stand below what they are."""
    found = []
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if name == "host":
            found.append(name)
        elif os.path.isdir(path):
            found += [f"{name}/{id}" for id in os.listdir(path)]
    return found


def _changed_s(path: str) -> float:
    return max((entry.stat().st_mtime for entry in os.scandir(path)), default=0.0)
