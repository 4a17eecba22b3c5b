"""How a run can end, and the errors by which a transition decides it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import TypeVar

from ... import errors
from ...ids import RunId
from . import documents

T = TypeVar("T")


class Abort(errors.PilotError):
    """Retrying cannot help: the run ends and is settled as a failure of ours."""


class UserFault(errors.PilotError):
    """The request cannot be met: the run ends; `code` tells the caller's edge which answer it is."""

    def __init__(self, message: str, *, code: str = "invalid", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Handoff(errors.PilotError):
    """Another run does the rest; who waits for this one waits for that one."""

    def __init__(self, message: str, run: RunId) -> None:
        super().__init__(message)
        self.run = run


class Awaiting(Exception):
    """A child has to end first; then the transition is tried again, which does not count as a failure."""


class AlreadyActive(errors.Conflict):
    """A run of the same kind, resource and action is active: `run`."""

    def __init__(self, message: str, run: RunId) -> None:
        super().__init__(message)
        self.run = run


class Cancelled(Exception):
    """Raised by the pause between two steps when somebody cancelled the run."""


class Stopped(Exception):
    """Raised by the pause when this process stops: the run stays active and is resumed by the next one."""


class Ending(enum.Enum):
    DONE = "done"
    ABORTED = "aborted"
    USER_FAULT = "user_fault"
    HANDED_OFF = "handed_off"
    CANCELLED = "cancelled"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """`code` is a `UserFault`'s; `successor` a `Handoff`'s run; `results` what the transitions returned, by name."""

    ending: Ending
    error: str | None = None
    code: str | None = None
    successor: RunId | None = None
    results: Mapping[str, object] = dataclasses.field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.ending is Ending.DONE

    def result(self, kind: type[T]) -> T:
        """What the transition that returns a `kind` returned; of a run that is `done`, or came past it."""
        found = documents.find(self.results.values(), kind)
        if found is None:
            raise LookupError(f"no transition of this run returned a {kind.__name__}")
        return found


def outcome_of(error: BaseException) -> Outcome | None:
    """What `error` makes of the run; None when it is to be retried."""
    match error:
        case UserFault():
            return Outcome(Ending.USER_FAULT, str(error), code=error.code)
        case Handoff():
            return Outcome(Ending.HANDED_OFF, str(error), successor=error.run)
        case Abort():
            return Outcome(Ending.ABORTED, str(error))
        case Cancelled():
            return Outcome(Ending.CANCELLED, "cancelled")
    return None
