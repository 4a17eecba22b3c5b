"""How a run's end is told to who waits for it: its outcome, or the error that was meant."""

from __future__ import annotations

import asyncio

from ... import errors
from ...wire import faults
from ..fsm.engine import Ended
from ..fsm.outcome import Ending, Outcome

# By the code of a run's `UserFault`.
_KINDS: dict[str, type[errors.PilotError]] = {
    "not_found": errors.NotFound,
    "conflict": errors.Conflict,
    "failed_precondition": errors.StateError,
    "exhausted": faults.Exhausted,
    "no_room": errors.NoRoom,
}


async def finish(ended: Ended, timeout_s: float) -> Outcome:
    """Wait for a run. Its failure as the error that the edge answers with; the run goes on when the wait ends."""
    try:
        async with asyncio.timeout(timeout_s):
            # Shielded by wrap_future's own copy: cancelling the wait must not touch the run's future.
            outcome = await asyncio.shield(asyncio.wrap_future(ended))
    except TimeoutError as error:
        raise faults.Unavailable(f"not done within {timeout_s:.0f} s; it goes on") from error
    if outcome.done:
        return outcome
    raise error_of(outcome)


def error_of(outcome: Outcome) -> errors.PilotError:
    """The error of a run that did not end well, by who can fix it."""
    text = outcome.error or outcome.ending.value
    if outcome.ending is Ending.USER_FAULT:
        return _KINDS.get(outcome.code or "", faults.InvalidRequest)(text)
    if outcome.ending is Ending.CANCELLED:
        # Only a destroy cancels what else is under way: coming again is no use, which `Unavailable` would say.
        return errors.Conflict("given up: it is being destroyed")
    return faults.Unavailable(text)
