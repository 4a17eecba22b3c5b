"""What may go wrong with a request: each class of error, its code and its HTTP status, said once.

    the agent     raises a class ──► `fault_of` ──► status, {"code": …} and `Pilot-Fault: code` ──► the wire
    pilotd        the wire ──► `error_of(status, code)` ──► raises the class that was meant
    a facade      renders `fault_of(error)` in the words of its own clients

No one guesses a cause from a status. `world_not_running` is a code of its own because pilotd acts on it: the sprite is
woken, and asked once more.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .. import errors

HEADER = "Pilot-Fault"


class Unauthenticated(errors.PilotError):
    """No valid token came with the request."""


class PermissionDenied(errors.PilotError):
    """The token is good, and not for this."""


class InvalidRequest(errors.PilotError):
    """The client asked for something that makes no sense."""


class CommandNotFound(InvalidRequest):
    """There is no such program to run."""


class CommandNotExecutable(InvalidRequest):
    """It is there, and the kernel does not run it."""


class RangeNotSatisfiable(errors.PilotError):
    """The client asked for bytes beyond the end."""


class MethodNotAllowed(errors.PilotError):
    """The path exists, but not with this method; `allowed` are those that it has."""

    def __init__(self, message: str, *, allowed: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint or (f"use {' or '.join(allowed)}" if allowed else None))
        self.allowed = tuple(allowed)


class TooLarge(errors.PilotError):
    """The client sent more than this call takes."""


class HeadTooLarge(errors.PilotError):
    """A request's line and headers are longer than anybody needs."""


class TooSlow(errors.PilotError):
    """The request did not come in time."""


class Exhausted(errors.PilotError):
    """There are as many as there may be; try again when some have gone."""


class Unsupported(errors.PilotError):
    """This machine's isolation does not have it, now or later."""


class Unavailable(errors.PilotError):
    """It cannot be done now; it may be possible later."""


class WorldNotRunning(Unavailable):
    """The machine runs, and the user's world in it does not: nothing was done."""


class DeadlineExceeded(errors.PilotError):
    """The server's own deadline for this call has passed."""


class Gone(errors.PilotError):
    """It was there and has ended."""


class Internal(errors.PilotError):
    """The other side failed in a way that it did not foresee."""


class Fault(msgspec.Struct, frozen=True):
    """How an error is told over HTTP."""

    kind: type[BaseException]
    code: str
    status: int


# Most special first: the first class that fits an error tells it. What is told by the same status and code comes back
# as the first class of these.
FAULTS: tuple[Fault, ...] = (
    Fault(Unauthenticated, "unauthenticated", 401),
    Fault(PermissionDenied, "permission_denied", 403),
    Fault(CommandNotFound, "command_not_found", 400),
    Fault(CommandNotExecutable, "command_not_executable", 400),
    Fault(InvalidRequest, "invalid_argument", 400),
    Fault(errors.SpecError, "invalid_argument", 400),
    Fault(RangeNotSatisfiable, "invalid_argument", 416),
    Fault(MethodNotAllowed, "unimplemented", 405),
    Fault(TooLarge, "resource_exhausted", 413),
    Fault(HeadTooLarge, "resource_exhausted", 431),
    Fault(Exhausted, "resource_exhausted", 429),
    Fault(TooSlow, "deadline_exceeded", 408),
    Fault(DeadlineExceeded, "deadline_exceeded", 504),
    Fault(Unsupported, "failed_precondition", 412),
    Fault(WorldNotRunning, "world_not_running", 503),
    Fault(Unavailable, "unavailable", 503),
    Fault(Gone, "not_found", 410),
    Fault(errors.NotFound, "not_found", 404),
    Fault(errors.Conflict, "already_exists", 409),
    Fault(errors.StateError, "failed_precondition", 409),
    Fault(errors.NoRoom, "resource_exhausted", 507),
    Fault(errors.HostError, "host_lacks", 503),
    Fault(Internal, "internal", 500),
    Fault(errors.StepError, "internal", 500),
    Fault(errors.PeerError, "peer_failed", 502),
    Fault(errors.PilotError, "invalid_argument", 400),
)
_UNFORESEEN = Fault(BaseException, "internal", 500)
# A machine that passes on the failure of another is not itself out of reach, which is what `PeerError` says to callers.
_MEANT: dict[tuple[int, str], type[errors.PilotError]] = {
    (row.status, row.code): row.kind
    for row in reversed(FAULTS)
    if issubclass(row.kind, errors.PilotError) and row.kind not in (errors.PilotError, errors.PeerError)
}


def fault_of(error: BaseException) -> Fault:
    """How `error` is told; what is not ours is `internal`."""
    return next((row for row in FAULTS if isinstance(error, row.kind)), _UNFORESEEN)


def error_of(status: int, code: str, text: str, hint: str | None = None) -> errors.PilotError:
    """The error that a refusal meant; `Internal` for a pair that is in no row, of a sender not ours or newer."""
    return _MEANT.get((status, code), Internal)(text, hint=hint)


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The JSON of every error of the pilot API; `path` only from fs calls, whose `code` is POSIX's."""

    error: str
    code: str
    hint: str | None = None
    path: str | None = None
