"""Drive one run from where its journal stands to its end, in the calling thread.

    transitions not yet completed ──► decided(outcome) ──► settle ──► finished

A crash at any line leaves a record from which `drive` goes on: it repeats at most the one step that was under way.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from . import outcome as outcomes
from .journal import Journal, Record
from .operation import Operation, Run, Transition
from .outcome import Ending, Outcome

log = logging.getLogger(__name__)

R = TypeVar("R")

# Called between steps with the seconds to wait; raises Cancelled or Stopped.
Pause = Callable[[float], None]

# At the longest, between two looks at a child: its end wakes its parent.
CHILD_PAUSE_S = 30.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


def pauses() -> Iterator[float]:
    """Seconds before the second, third, ... attempt."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def drive(record: Record, operation: Operation[R], journal: Journal, pause: Pause) -> Outcome:
    """Run what is left of `record`. Raises `Stopped` when this process stops meanwhile, and `HostError`, having done
    nothing, when a newer program wrote the record."""
    run = record.read(operation)
    decided = record.outcome
    if decided is None:
        decided = fresh = _decide(record, run, operation, journal, pause)
        _insist(lambda: journal.decided(record, fresh), record, "decided", pause)
    outcome = dataclasses.replace(decided, results=dict(run.results))
    _insist(lambda: operation.settle(run, outcome), record, "settle", pause)
    _insist(lambda: journal.finished(record), record, "finished", pause)
    return outcome


def _decide(record: Record, run: Run[R], operation: Operation[R], journal: Journal, pause: Pause) -> Outcome:
    try:
        for transition in _left(record, operation):
            pause(0)
            _attempt(record, run, transition, journal, pause)
    except (outcomes.UserFault, outcomes.Abort, outcomes.Handoff, outcomes.Cancelled) as error:
        decided = outcomes.outcome_of(error)
        assert decided is not None
        return decided
    return Outcome(Ending.DONE)


def _left(record: Record, operation: Operation[R]) -> Iterator[Transition[R]]:
    known: Mapping[str, Transition[R]] = {transition.name: transition for transition in operation.transitions}
    for name in record.names:
        if name in record.results:
            continue
        if name in known:
            yield known[name]
        else:
            # The run was begun by an older program: what that step did is no longer wanted.
            log.warning("transition unknown, skipped", extra={"run": record.id, "transition": name})


def _attempt(record: Record, run: Run[R], transition: Transition[R], journal: Journal, pause: Pause) -> None:
    waits, failures = pauses(), record.attempts.get(transition.name, 0)
    while True:
        try:
            result = transition.act(run)
            journal.completed(record, transition.name, transition.result.write(result))
        except (outcomes.UserFault, outcomes.Abort, outcomes.Handoff, outcomes.Cancelled, outcomes.Stopped):
            raise
        except outcomes.Awaiting:
            pause(CHILD_PAUSE_S)
        except Exception as error:
            failures += 1
            _note(record, transition.name, failures, error, journal)
            if transition.attempts is not None and failures >= transition.attempts:
                raise outcomes.Abort(f"{transition.name}: {error}") from error
            pause(next(waits))
        else:
            run.results[transition.name] = result
            return


def _note(run: Record, name: str, failures: int, error: Exception, journal: Journal) -> None:
    log.warning("transition failed", extra=_about(run, name, error) | {"attempt": failures}, exc_info=error)
    try:
        journal.failed(run, name, failures, str(error) or type(error).__name__)
    except Exception as unwritten:  # noqa: BLE001 - the count is advice: losing it costs attempts after a crash, no more
        log.warning("failure not journalled", extra=_about(run, name, unwritten))


def _insist(act: Callable[[], object], run: Record, what: str, pause: Pause) -> None:
    """Until it works: an outcome that is not written down would be forgotten, or decided differently after a crash."""
    for wait_s in pauses():
        try:
            act()
            return
        except Exception as error:
            log.warning("not settled", extra=_about(run, what, error), exc_info=error)
        try:
            pause(wait_s)
        except outcomes.Cancelled:
            continue  # the outcome is decided already; cancelling changes nothing any more


def _about(run: Record, name: str, error: Exception) -> dict[str, object]:
    return {"run": run.id, "action": run.action, "resource": run.resource, "transition": name, "error": str(error)}
