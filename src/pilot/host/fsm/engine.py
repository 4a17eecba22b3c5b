"""Threads, queues and waiting around `driver.drive`.

    start ──► lane of (kind, resource): its runs, oldest first ──► slots of the kind ──► a thread that drives the first

A lane with work waits for a slot, gets a thread with it, and when others wait goes behind them after each run. One that
cannot have a thread now, as this process has no memory for another, gets it when it can (`_begin_late`).
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import logging
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from ... import errors
from ...ids import RunId
from . import documents, driver
from .journal import Journal, Record
from .operation import Action, AnyOperation, Operation, Run
from .outcome import Abort, AlreadyActive, Awaiting, Cancelled, Outcome, Stopped
from .slots import Slots

log = logging.getLogger(__name__)

JOIN_TIMEOUT_S = 5.0
JOIN_POLL_S = 0.001
LATE_S = 0.5  # until another thread is tried for
_RUN_ID = r"(?P<ms>[0-9a-f]{12})[0-9a-f]{16}"

R = TypeVar("R")

Lane = tuple[str, str]
Ended = concurrent.futures.Future[Outcome]


class _Ticket:
    """An active run in this process: its record, who waits for it, and how it is interrupted."""

    def __init__(self, record: Record, slots: Slots, stopping: threading.Event) -> None:
        self.record = record
        self.began_s = time.monotonic()
        self._slots = slots
        self.ended: Ended = concurrent.futures.Future()
        self._wake = threading.Event()
        self._cancelled = False
        self._stopping = stopping

    def interrupt(self, *, cancel: bool) -> None:
        self._cancelled |= cancel
        self._wake.set()

    def pause(self, seconds: float) -> None:
        if seconds > 0 and not self._wake.is_set():
            self._slots.give_up()
            try:
                self._wake.wait(seconds)
            finally:
                self._slots.wait()
        self._wake.clear()  # before the look at why it was set
        if self._stopping.is_set():
            raise Stopped
        if self._cancelled:
            # Raised once: what follows the decision is not to be hurried.
            self._cancelled = False
            raise Cancelled


class Engine:
    """Starts, resumes, cancels and waits for runs. `close()` leaves what is unfinished to the next process.

    `caps`: how many runs of a kind go on at once; without one, as many as there are resources with work.
    `told` hears of each run that has ended, with the seconds since it began here; on the run's thread. `begun` hears
    of each that is begun, before it is, on the thread that begins it.
    """

    def __init__(
        self,
        journal: Journal,
        operations: Iterable[AnyOperation],
        caps: Mapping[str, int] | None = None,
        told: Callable[[Record, Outcome, float], object] = lambda run, outcome, seconds: None,
        begun: Callable[[Record], object] = lambda run: None,
    ) -> None:
        self._journal = journal
        self._operations = {_key(operation.action): operation for operation in operations}
        self._told, self._begun = told, begun
        kinds = {kind for kind, _ in self._operations}
        self._slots = {kind: Slots((caps or {}).get(kind)) for kind in kinds}
        self._unlimited = Slots(None)  # for kinds that this program no longer knows
        self._lock = threading.Lock()
        self._lanes: dict[Lane, collections.deque[_Ticket]] = {}
        self._threads: set[threading.Thread] = set()
        self._tickets: dict[RunId, _Ticket] = {}
        self._stopping = threading.Event()
        self._ids = _RunIds()
        self._late: queue.SimpleQueue[tuple[Lane, Slots] | None] = queue.SimpleQueue()
        self._starter = threading.Thread(target=self._begin_late, name="runs-late", daemon=True)
        self._starter.start()  # now: when it is needed there is no memory for it

    def resume(self) -> int:
        """Take up every run that an earlier process left active; how many. Call once, before `start`."""
        records = self._journal.active()
        for record in records:
            self._ids.follow(record.id)
        self._enqueue(records)
        return len(records)

    def start(self, action: Action[R], resource: str, request: R) -> Ended:
        """Begin a run; journalled when this returns. `AlreadyActive` when the same one is active."""
        return self._start(action, resource, request, None)

    def _start(self, action: Action[R], resource: str, request: R, parent: RunId | None) -> Ended:
        names = self._operations[_key(action)].names()
        document = action.request.write(request)
        record = Record(self._ids.next(), action.kind, action.name, resource, document, names, parent)
        self._journal.begin(record)
        self._begun(record)
        [ended] = self._enqueue([record])
        return ended

    def child(self, run: Run[object], action: Action[R], resource: str, request: R) -> Outcome:
        """For transitions: how the run that `run` wants for this has ended; begun by the first call.

        Raises `Awaiting` until then, for the driver; the transition is called again when the child has ended. A child
        has another resource than its parent, behind which it would wait.
        """
        if (action.kind, resource) == (run.kind, run.resource):
            raise Abort(f"{run.action}: a child {action.name} of the same {run.kind} could never begin")
        known = self._journal.child(run.id, action.kind, action.name, resource)
        if (outcome := self._outcome(known)) is not None:
            return outcome
        try:
            ended = self.waiting_for(known.id) if known else self._start(action, resource, request, run.id)
        except AlreadyActive as active:
            ended = self.waiting_for(active.run)  # of somebody else; ours begins when that has ended
        if ended is not None:
            ended.add_done_callback(lambda _: self._wake(run.id))
        elif (outcome := self._outcome(self._journal.child(run.id, action.kind, action.name, resource))) is not None:
            return outcome  # it has ended since it was looked at
        raise Awaiting

    def _outcome(self, known: Record | None) -> Outcome | None:
        """Of a child that has ended."""
        if known is None or not known.finished or known.outcome is None:
            return None
        return dataclasses.replace(known.outcome, results=known.read(self._operation(known)).results)

    def _wake(self, run: RunId) -> None:
        with self._lock:
            ticket = self._tickets.get(run)
        if ticket is not None:
            ticket.interrupt(cancel=False)

    def join(self, action: Action[R], resource: str, request: R) -> Ended:
        """Like `start`, but waits for the active run of that kind, resource and action where there is one."""
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        while True:
            try:
                return self.start(action, resource, request)
            except AlreadyActive as active:
                ended = self.waiting_for(active.run)
                if ended is not None:
                    return ended
                # Finished (or not yet enqueued) between the two calls: look again. A run that the driver dropped for
                # a defect of its own stays active until the next start of the program.
                if time.monotonic() > deadline:
                    raise
                time.sleep(JOIN_POLL_S)

    def waiting_for(self, run: RunId) -> Ended | None:
        """The future of an active run."""
        with self._lock:
            ticket = self._tickets.get(run)
        return ticket.ended if ticket else None

    def cancel(self, kind: str, resource: str, *, but: str | None = None) -> None:
        """End the active runs of this resource (but those of action `but`), and their children, at their next pause;
        `settle` undoes."""
        with self._lock:
            tickets = sorted(
                self._tickets.values(), key=lambda ticket: ticket.record.id
            )  # children after their parents
        ended: set[RunId] = set()
        for ticket in tickets:
            run = ticket.record
            if run.parent in ended or ((run.kind, run.resource) == (kind, resource) and run.action != but):
                ended.add(run.id)
                ticket.interrupt(cancel=True)

    def active(self) -> list[Record]:
        """The runs that have not ended, as they were when this process began with them."""
        with self._lock:
            return [ticket.record for ticket in self._tickets.values()]

    def close(self, timeout_s: float) -> bool:
        """Stop at the next pause of each run; whether all did so in time."""
        self._stopping.set()
        with self._lock:
            tickets = list(self._tickets.values())
        for ticket in tickets:
            ticket.interrupt(cancel=False)
        for slots in self._slots.values():
            slots.open()
        self._late.put(None)
        deadline = time.monotonic() + timeout_s
        self._starter.join(timeout_s)
        while threads := self._living():
            if time.monotonic() > deadline:
                return False
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        while not self._late.empty():
            if (late := self._late.get()) is not None:
                self._drain(*late)  # nobody else tells those who wait for its runs
        return not self._starter.is_alive()

    def _living(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._threads)

    def _enqueue(self, records: Sequence[Record]) -> list[Ended]:
        """All are known before one begins: a parent that is resumed finds its children under way, and hears of their
        ends."""
        tickets = [_Ticket(record, self._slots_of(record), self._stopping) for record in records]
        lanes: dict[Lane, Slots] = {}
        with self._lock:
            for record, ticket in zip(records, tickets, strict=True):
                self._tickets[record.id] = ticket
                lane = (record.kind, record.resource)
                if lane not in self._lanes:
                    self._lanes[lane] = collections.deque()
                    lanes[lane] = self._slots_of(record)
                self._lanes[lane].append(ticket)
        for lane, slots in lanes.items():
            slots.ask(functools.partial(self._spawn, lane, slots))
        return [ticket.ended for ticket in tickets]

    def _slots_of(self, record: Record) -> Slots:
        return self._slots.get(record.kind, self._unlimited)

    def _spawn(self, lane: Lane, slots: Slots) -> None:
        """With a slot, which the thread gives up."""
        name = f"run-{lane[0]}-{lane[1]}"[:60]
        thread = threading.Thread(target=self._drain, args=(lane, slots), name=name, daemon=True)
        with self._lock:  # so that whoever finds it among the threads may wait for its end
            self._threads.add(thread)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:  # pthread_create(3): EAGAIN, without memory for its stack
                self._threads.discard(thread)
                log.warning("no thread for a run yet", extra={"resource": lane[1], "error": str(error)})
                self._late.put((lane, slots))

    def _begin_late(self) -> None:
        """For lanes that got no thread: once more, until one is there; or the end of their runs, when all is to end."""
        while (late := self._late.get()) is not None:
            if self._stopping.wait(LATE_S):
                self._drain(*late)
            else:
                self._spawn(*late)

    def _drain(self, lane: Lane, slots: Slots) -> None:
        try:
            while (ticket := self._next(lane)) is not None:
                self._drive(ticket)
                if slots.waiting:
                    slots.ask(lambda: self._spawn(lane, slots))
                    break
        finally:
            slots.give_up()  # may begin another thread: `close` sees that one before this one has gone
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _next(self, lane: Lane) -> _Ticket | None:
        with self._lock:
            queue = self._lanes[lane]
            if queue:
                return queue.popleft()
            # In the same breath as the look into the queue, so that no run is left without a thread.
            del self._lanes[lane]
            return None

    def _drive(self, ticket: _Ticket) -> None:
        run = ticket.record
        try:
            outcome = driver.drive(run, self._operation(run), self._journal, ticket.pause)
        except Stopped:
            self._forget(
                run, lambda: ticket.ended.set_exception(errors.StateError(f"{run.action}: pilotd is stopping"))
            )
        except Exception as error:
            # A record of a newer program, or a defect of the driver itself. The run stays active in the journal; the
            # lane goes on with the next one.
            log.exception("run left unfinished", extra={"run": run.id})
            reason = error
            self._forget(run, lambda: ticket.ended.set_exception(reason))
        else:
            self._end(ticket, outcome)

    def _operation(self, run: Record) -> AnyOperation:
        # An action that this program no longer knows: nothing of it is left to do, so it ends as done.
        gone: AnyOperation = Operation(Action(run.kind, run.action, documents.AS_IT_IS), ())
        return self._operations.get((run.kind, run.action)) or gone

    def _end(self, ticket: _Ticket, outcome: Outcome) -> None:
        run = ticket.record
        self._told(run, outcome, time.monotonic() - ticket.began_s)
        if outcome.successor is None:
            self._forget(run, lambda: ticket.ended.set_result(outcome))
        elif (follow := self.waiting_for(outcome.successor)) is not None:
            self._forget(run, lambda: follow.add_done_callback(lambda ended: _copy(ended, ticket.ended)))
        else:
            last = self._ended(outcome.successor) or outcome
            self._forget(run, lambda: ticket.ended.set_result(last))

    def _ended(self, run: RunId) -> Outcome | None:
        record = self._journal.find(run)
        results = record.read(self._operation(record)).results
        return record.outcome and dataclasses.replace(record.outcome, results=results)

    def _forget(self, run: Record, then: Callable[[], object]) -> None:
        with self._lock:
            self._tickets.pop(run.id, None)
        then()


def _copy(source: Ended, target: Ended) -> None:
    error = source.exception()
    if error is not None:
        target.set_exception(error)
    else:
        target.set_result(source.result())


def _key(action: Action[R]) -> tuple[str, str]:
    return action.kind, action.name


class _RunIds:
    """They sort as they are made, also when the clock is set back, for active runs are resumed in their order:
    milliseconds, then randomness."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0

    def follow(self, run: RunId) -> None:
        """Of an earlier process: what comes now is later."""
        if made := re.fullmatch(_RUN_ID, run):
            self._last_ms = max(self._last_ms, int(made["ms"], 16))

    def next(self) -> RunId:
        with self._lock:
            self._last_ms = max(self._last_ms + 1, time.time_ns() // 1_000_000)
            return RunId(f"{self._last_ms:012x}{secrets.token_hex(8)}")
