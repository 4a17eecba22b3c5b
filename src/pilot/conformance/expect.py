"""An answer against the contract: the value that it carries, or `Unmet`, with what was wanted and what came."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

from .. import errors
from ..machine.exchange import Answer
from ..wire import faults, operations, websocket
from ..wire.operations import Answered, Operation

JSON, LINES, BYTES = "application/json", "application/x-ndjson", "application/octet-stream"
_MAX_SHOWN = 200
_Kind = TypeVar("_Kind")


class Unmet(errors.PilotError):
    """The machine answered, and not as the contract has it."""


class Precluded(errors.PilotError):
    """It is beyond this machine's isolation, and the machine says so as the contract has it: the promise is kept."""


# What the user's namespace of a container forbids, and what a machine of its own kernel does not.
BEYOND: dict[str, frozenset[str]] = {
    "container": frozenset({operations.FREEZE_WORLD.id, operations.THAW_WORLD.id}),
    "vm": frozenset(),
}


def that(holds: bool, what: str) -> None:
    """`Unmet` unless it holds."""
    if not holds:
        raise Unmet(what)


def answered(operation: Operation[Any, Answered], answer: Answer, isolation: str | None) -> Answered:
    """The body, of a good answer. `Precluded` where the isolation cannot, and the machine says so."""
    if operation.id in BEYOND.get(isolation or "", ()):
        refused(answer, 412, "failed_precondition")
        raise Precluded(f"{operation.id} is beyond isolation {isolation}")
    that(answer.status == operation.status, f"status {operation.status} was meant: {shown(answer)}")
    if operation.lines or operation.many:
        raise TypeError(f"{operation.id} answers in lines, or many at once")
    if operation.answered in (type(None), bytes):
        that(operation.answered is bytes or not answer.body, f"no body was meant: {shown(answer)}")
        return cast(Answered, answer.body if operation.answered is bytes else None)
    _typed(answer, JSON)
    return decoded(answer.body, operation.answered)


def lines(operation: Operation[Any, Answered], answer: Answer) -> list[Answered]:
    """The values of a good answer in lines."""
    that(answer.status == operation.status, f"status {operation.status} was meant: {shown(answer)}")
    _typed(answer, LINES)
    return [decoded(line, operation.answered) for line in answer.body.splitlines() if line.strip()]


def many(operation: Operation[Any, Answered], answer: Answer) -> list[Answered]:
    """The values of a good answer that is an array."""
    that(answer.status == operation.status, f"status {operation.status} was meant: {shown(answer)}")
    _typed(answer, JSON)
    return [decoded(msgspec.json.encode(each), operation.answered) for each in decoded(answer.body, list[Any])]


def refused(answer: Answer, status: int, code: str) -> faults.ErrorBody:
    """The body of an error: by status, code and shape. A code of POSIX (of calls about files) is the body's alone."""
    that(answer.status == status, f"status {status} was meant: {shown(answer)}")
    _typed(answer, JSON)
    body = decoded(answer.body, faults.ErrorBody)
    that(bool(body.error), f"an error has a text: {shown(answer)}")
    if code.isupper():
        that(body.code == code, f"the code {code} was meant: {shown(answer)}")
        return body
    told = answer.headers.get(faults.HEADER.lower(), "")
    that(told == code, f"{faults.HEADER}: {code} was meant, not {told!r}: {shown(answer)}")
    that(body.code == code or body.code.isupper(), f"the code {code}, or one of POSIX, was meant: {shown(answer)}")
    return body


def decoded(data: bytes | str, kind: type[_Kind]) -> _Kind:
    """JSON of that shape."""
    try:
        return msgspec.json.decode(data, type=kind)
    except errors.UNREADABLE as error:
        raise Unmet(f"{kind.__name__} was meant: {error}: {data[:_MAX_SHOWN]!r}") from error


def frame(event: websocket.Event, kind: type[_Kind]) -> _Kind:
    """A text frame of that shape."""
    that(isinstance(event, str), f"a text frame was meant: {str(event)[:_MAX_SHOWN]}")
    return decoded(cast(str, event), kind)


def shown(answer: Answer) -> str:
    """For a person."""
    return f"{answer.status} {answer.body[:_MAX_SHOWN]!r}"


def _typed(answer: Answer, kind: str) -> None:
    told = answer.headers.get("content-type", "").partition(";")[0].strip()
    that(told == kind, f"content-type {kind} was meant, not {told!r}: {shown(answer)}")
