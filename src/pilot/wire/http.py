"""HTTP/1.1 as values: requests, query strings, ranges and the table from errors to statuses. No sockets, no clock.

h11 does the framing; this module turns its events into what endpoints work with, and errors into the one JSON shape
of the pilot API: `{"error": text, "code": code}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib import parse

import h11
import msgspec

from .. import errors

MAX_HEAD_BYTES = 256 * 1024


class Request(msgspec.Struct, frozen=True):
    """The head of a request. `path` is percent-decoded, header names are lower-case."""

    method: str
    target: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]

    def first(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter that is `true` or `false`; `InvalidRequest` for another text."""
        value = self.first(name).lower()
        if value not in _FLAGS:
            raise InvalidRequest(f"{name}: {value!r} is neither true nor false")
        return default if value == "" else _FLAGS[value]

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A decimal query parameter within bounds; `InvalidRequest` when it is not."""
        value = self.first(name) or str(default)
        if not (value.isascii() and value.isdigit() and len(value) < 20 and low <= int(value) <= high):
            raise InvalidRequest(f"{name}: {value!r} is not a number from {low} to {high}")
        return int(value)


_FLAGS = {"": False, "true": True, "1": True, "false": False, "0": False}


class InvalidRequest(errors.PilotError):
    """The client asked for something that makes no sense."""


class CommandNotFound(InvalidRequest):
    """There is no such program to run."""


class CommandNotExecutable(InvalidRequest):
    """It is there, and the kernel does not run it."""


class RangeNotSatisfiable(errors.PilotError):
    """The client asked for bytes beyond the end."""


class TooLarge(errors.PilotError):
    """The client sent more than this call takes."""


class Exhausted(errors.PilotError):
    """There are as many as there may be; try again when some have gone."""


class Unavailable(errors.PilotError):
    """It cannot be done now; it may be possible later."""


class DeadlineExceeded(errors.PilotError):
    """The server's own deadline for this call has passed."""


class Gone(errors.PilotError):
    """It was there and has ended."""


def parse_request(event: h11.Request) -> Request:
    """h11's event → our value; `InvalidRequest` when target or headers are not text."""
    try:
        target = event.target.decode("ascii")
        headers = {name.decode("ascii"): value.decode("utf-8") for name, value in event.headers}
        split = parse.urlsplit(target)
        query = parse.parse_qs(split.query, keep_blank_values=True, errors="strict", max_num_fields=10000)
        path = parse.unquote(split.path, errors="strict")
    except ValueError as error:
        raise InvalidRequest(f"request: not valid text: {error}") from error
    return Request(event.method.decode("ascii"), target, path, query, headers)


# Most special first: the first class that fits counts.
_STATUSES: tuple[tuple[type[BaseException], int, str], ...] = (
    (CommandNotFound, 400, "command_not_found"),
    (CommandNotExecutable, 400, "command_not_executable"),
    (InvalidRequest, 400, "invalid_argument"),
    (RangeNotSatisfiable, 416, "invalid_argument"),
    (TooLarge, 413, "resource_exhausted"),
    (Exhausted, 429, "resource_exhausted"),
    (Unavailable, 503, "unavailable"),
    (DeadlineExceeded, 504, "deadline_exceeded"),
    (Gone, 410, "not_found"),
    (errors.SpecError, 400, "invalid_argument"),
    (errors.NotFound, 404, "not_found"),
    (errors.Conflict, 409, "already_exists"),
    (errors.StateError, 409, "failed_precondition"),
    (errors.HostError, 412, "failed_precondition"),
    (errors.PeerError, 400, "invalid_argument"),
    (errors.StepError, 500, "internal"),
    (errors.PilotError, 400, "invalid_argument"),
)


def status_of(error: BaseException) -> tuple[int, str]:
    """HTTP status and code of an error; what is not ours is `internal`."""
    return next(((status, code) for kind, status, code in _STATUSES if isinstance(error, kind)), (500, "internal"))


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The JSON of every error of the pilot API; `path` only from fs calls."""

    error: str
    code: str
    hint: str | None = None
    path: str | None = None


def parse_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """`Range: bytes=…` → (start, length); None when there is none to honour; `RangeNotSatisfiable` if so."""
    unit, _, ranges = header.partition("=")
    first, dash, last = ranges.strip().partition("-")
    digits = first + last
    if unit.strip() != "bytes" or not dash or not (digits.isascii() and digits.isdigit() and len(digits) < 40):
        return None
    start = max(0, size_bytes - int(last)) if not first else int(first)
    end = min(size_bytes, int(last) + 1) if first and last else size_bytes
    if start >= end:
        raise RangeNotSatisfiable(f"range: {header} of {size_bytes} bytes")
    return start, end - start
