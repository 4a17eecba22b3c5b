"""What can go wrong, sorted by who can fix it.

Every error that reaches a person or a client is a `PilotError`. Its text reads *what we did: to what: why*, in lower
case and without a full stop; `hint` says what the reader can do about it, where that is known. Kernel errors stay
`OSError` underneath (`__cause__`) with errno and path. An error is reported once, at the edge.
"""

from __future__ import annotations

import os

# What msgspec and json raise for bytes from elsewhere that are not what they should be: no such document, text that is
# not UTF-8, a nesting deeper than the interpreter's stack.
UNREADABLE = (ValueError, RecursionError)


def told(error: BaseException) -> str:
    """It in one line, for whoever is not ours to show an errno or a type to."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return place + error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__


class PilotError(Exception):
    """Root of all errors that pilot raises on purpose."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class SpecError(PilotError):
    """The document is wrong: `path` names the place, as in `$.linux.namespaces[2].type`; `file` where it came from."""

    def __init__(self, path: str, problem: str, *, hint: str | None = None, file: str = "") -> None:
        super().__init__(f"{file}{': ' if file else ''}{path}: {problem}", hint=hint)
        self.path = path
        self.problem = problem


class StateError(PilotError):
    """The operation does not fit the present status of the thing."""


class HostError(PilotError):
    """This machine lacks something that was asked for."""


class NoRoom(HostError):
    """The host's disk has no room for it."""


class StepError(PilotError):
    """The kernel refused step `index` (of `total`) of a Program, with `errno`.

    The text says what it was for, and not how it is counted; `step` is the step in the words of the printed plan.
    """

    def __init__(self, index: int, total: int, description: str, errno: int, reason: str, step: str = "") -> None:
        super().__init__(f"{description}: {reason}")
        self.step = f"step {index + 1} of {total}: {step or description}"
        self.index = index
        self.total = total
        self.errno = errno


class PeerError(PilotError):
    """The other side broke the protocol, or went away in the middle of it."""


class Conflict(PilotError):
    """Something of that name, or an operation on it, exists already."""


class NotFound(PilotError):
    """There is nothing of that name."""
